"""The small tables of a stage's blocks: one file for each task while the stage runs, one for each super-block afterwards.

A task writes all its tables at once into one file. Once the tasks of a super-block are done their files are gathered in one,
and removed. So there are few files, none of which two tasks write, and no folder holds more than those of a super-block. The
file is made by :mod:`mitoscale.storage.table_file`: it tells the settings it was made with, and each task's part its checksum.
What was written with other settings is passed over, and what is broken is told by the name of its task.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import groupby

from mitoscale.core.errors import DamagedError
from mitoscale.core.geometry import Triple
from mitoscale.core.grid import BlockGrid, index_of
from mitoscale.storage.addresses import join
from mitoscale.storage.stored_files import names_in, remove_file
from mitoscale.storage.table_file import TaskTables, packed, part_of, parts_of, tasks_of, unpacked, write_parts
from mitoscale.storage.table_index import NoFileError, OtherSettingsError, UnfitFileError
from mitoscale.storage.tables import Columns

ENDING = ".tables"
"""How the files' names end."""


class BlockTables:
    """The tables that the tasks of one stage write.

    Parameters
    ----------
    folder : str
        Where they lie, on a disk or in an object store.
    grid : BlockGrid
        The blocks; a face belongs to the super-block of its low block.
    stage : str
        The stage that writes them.
    token : str
        Of the settings they are made with.
    by_tasks : bool
        Whether its tasks write them; else the stage does, at its beginning or end, and is what is told where they are broken.
    durable : bool
        Whether to wait until a file is on the disk; needless where a crash makes all of them worthless.
    """

    def __init__(
        self, folder: str, grid: BlockGrid, *, stage: str, token: str, by_tasks: bool = True, durable: bool = True
    ) -> None:
        self._folder, self._grid, self._stage, self._token = folder, grid, stage, token
        self._by_tasks, self._durable = by_tasks, durable

    def write(self, task: str, tables: Mapping[str, Columns], note: Mapping[str, str] | None = None) -> None:
        """Write all tables of a task.

        Parameters
        ----------
        task : str
            Name of its block or face.
        tables : mapping
            Columns of each table by its name.
        note : mapping, optional
            Small texts to keep with them.
        """
        written = TaskTables(tables={name: dict(columns) for name, columns in tables.items()}, note=dict(note or {}))
        write_parts(self.single(task), {task: packed(written)}, self._token, durable=self._durable)

    def write_all(self, corner: Triple, tasks: Mapping[str, TaskTables]) -> None:
        """Write the tables of all tasks of a super-block as one file.

        Parameters
        ----------
        corner : (z, y, x)
            The super-block.
        tasks : mapping
            Tables of each task.
        """
        write_parts(self.gathered(corner), {name: packed(task) for name, task in tasks.items()}, self._token)

    def read(self, task: str, only: Collection[str] | None = None, *, finished: bool = False) -> TaskTables:
        """The tables of a task.

        Parameters
        ----------
        task : str
            Name of its block or face.
        only : collection of str, optional
            The tables that are wanted; by default all.
        finished : bool
            Whether the stage is finished, so that all is gathered: then a file of its own is looked for only where its
            super-block's has nothing, which saves a request.

        Raises
        ------
        DamagedError
            If they are missing, broken, or written with other settings.
        """
        gathered = self.gathered(self._grid.super_block_of(index_of(task)))
        try:
            if self._by_tasks and not finished:
                with suppress(NoFileError, OtherSettingsError):  # once it is gathered; of a task that was cancelled
                    return unpacked(part_of(self.single(task), task, self._token), only)
            return unpacked(part_of(gathered, task, self._token), only)
        except UnfitFileError as error:
            if self._by_tasks and finished:
                with suppress(UnfitFileError):
                    return unpacked(part_of(self.single(task), task, self._token), only)
            raise self._damaged(task, error) from error

    def read_many(self, corner: Triple, tasks: Collection[str], only: Collection[str]) -> Iterator[tuple[str, TaskTables]]:
        """Name and tables of some tasks of a super-block, in their order; much faster than one by one where they are gathered.

        Parameters
        ----------
        corner : (z, y, x)
            The super-block.
        tasks : collection of str
            Names of tasks of that super-block.
        only : collection of str
            The tables that are wanted.

        Raises
        ------
        DamagedError
            As :meth:`read`.
        """
        single = set(_tasks_in(self._single_folder(corner)))
        left = iter(tasks)
        together = [] if single.intersection(tasks) else tasks
        try:
            for name, part in parts_of(self.gathered(corner), together, self._token):
                next(left)
                yield name, unpacked(part, only)
        except UnfitFileError:
            pass  # whose they are is found below
        for name in left:
            yield name, self.read(name, only)

    def read_each(self, tasks: Iterable[str], only: Collection[str]) -> Iterator[tuple[str, TaskTables]]:
        """Name and tables of tasks of any super-blocks, in their order; fast where those of a super-block follow each other.

        Parameters
        ----------
        tasks : iterable of str
            Names of tasks.
        only : collection of str
            The tables that are wanted.

        Raises
        ------
        DamagedError
            As :meth:`read`.
        """
        for corner, together in groupby(tasks, key=lambda task: self._grid.super_block_of(index_of(task))):
            yield from self.read_many(corner, list(together), only)

    def read_all(self, corner: Triple) -> Iterator[tuple[str, TaskTables]]:
        """Name and tables of each task of a super-block that is gathered; DamagedError of the whole stage where that is broken."""
        path = self.gathered(corner)
        try:
            for name, part in parts_of(path, tasks_of(path, self._token), self._token):
                yield name, unpacked(part)
        except UnfitFileError as error:
            raise self._damaged("", error) from error

    def _damaged(self, task: str, error: Exception) -> DamagedError:
        return DamagedError(self._stage, task if self._by_tasks else "", f"tables are gone, broken, or of other settings: {error}")

    def loose(self) -> Iterator[Triple]:
        """Super-blocks some of whose tasks have files of their own."""
        return (corner for corner in self._grid.super_block_corners() if _tasks_in(self._single_folder(corner)))

    def gather(self, corner: Triple) -> None:
        """Bring the single files of a super-block together in one, and remove them.

        Parameters
        ----------
        corner : (z, y, x)
            The super-block.

        Raises
        ------
        DamagedError
            If one of them is broken.
        """
        gathered, found = self.gathered(corner), dict[str, bytes]()
        with suppress(UnfitFileError):
            for name in tasks_of(gathered, self._token):
                with suppress(UnfitFileError):  # who reads it tells
                    found[name] = part_of(gathered, name, self._token)
        singles = _tasks_in(self._single_folder(corner))
        for name in singles:
            try:
                found[name] = part_of(self.single(name), name, self._token)
            except OtherSettingsError:  # of a task that was cancelled
                continue
            except UnfitFileError as error:
                raise self._damaged(name, error) from error
        write_parts(gathered, dict(sorted(found.items())), self._token)
        for name in singles:
            remove_file(self.single(name))

    def lacking(self, tasks: Iterable[str]) -> list[str]:
        """Those of some tasks of which no file that can be opened has tables."""
        there: dict[Triple, set[str]] = {}
        lacking = []
        for task in tasks:
            corner = self._grid.super_block_of(index_of(task))
            if corner not in there:
                there[corner] = set(_tasks_in(self._single_folder(corner)))
                with suppress(UnfitFileError):
                    there[corner].update(tasks_of(self.gathered(corner), self._token))
            if task not in there[corner]:
                lacking.append(task)
        return lacking

    def _single_folder(self, corner: Triple) -> str:
        z, y, x = corner
        return join(self._folder, f"z{z:03d}", f"y{y:03d}", f"x{x:03d}")

    def single(self, task: str) -> str:
        """The file of a task, while its super-block is not gathered."""
        return join(self._single_folder(self._grid.super_block_of(index_of(task))), f"{task}{ENDING}")

    def gathered(self, corner: Triple) -> str:
        """The file of a super-block."""
        return self._single_folder(corner) + ENDING


def _tasks_in(folder: str) -> list[str]:
    """Tasks that have files of their own in a folder."""
    return [name.removesuffix(ENDING) for name in names_in(folder) if name.endswith(ENDING) and not name.startswith(".")]
