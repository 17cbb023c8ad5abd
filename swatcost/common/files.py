"""Atomic writes: a reader sees the old file or the complete new one, never a part."""

import contextlib
import os
from pathlib import Path

from swatcost.common.errors import SwatcostError

_NEW_FILE_MODE = 0o666  # as in open(); the process's umask is subtracted


def write_atomically(path: Path, text: str) -> None:
    """Writes text to path, through a temporary file beside it.

    Links are followed, and devices and pipes are written to directly; an existing file keeps its permissions.
    Raises SwatcostError if the path cannot be written, and then leaves no file behind.
    """
    try:
        target = Path(os.path.realpath(path))
        if path.is_relative_to("/dev") or (target.exists() and not target.is_file()):
            with open(path, "a", encoding="utf-8") as stream:  # a file behind /dev/stdout must not be truncated
                stream.write(text)
        else:
            _replace(target, text.encode())
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from None


def append_whole(descriptor: int, content: bytes, path: Path) -> None:
    """Appends to an open file all or nothing, so that a full disk leaves a file that can be gone on with.

    Raises SwatcostError that names the path.
    """
    try:
        end = os.fstat(descriptor).st_size
        left = memoryview(content)
        try:
            while left:
                left = left[os.write(descriptor, left) :]
        except OSError:
            with contextlib.suppress(OSError):  # a pipe or a device has no length
                os.ftruncate(descriptor, end)
            raise
    except OSError as error:
        raise cannot_write(path, error) from None


def cannot_write(path: Path, error: Exception) -> SwatcostError:
    """What is said of a file that cannot be written."""
    return SwatcostError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}")


def check_writable(path: Path) -> None:
    """Raises SwatcostError if path is a directory, or its folder does not exist."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise SwatcostError(f"cannot write {path}: Is a directory")
    if not target.parent.is_dir():
        raise SwatcostError(f"cannot write {path}: No such file or directory")


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Writes bytes to a file, through a temporary one beside it. Raises SwatcostError as `write_atomically` does."""
    try:
        _replace(Path(os.path.realpath(path)), content)
    except (OSError, ValueError) as error:
        raise cannot_write(path, error) from None


def _replace(target: Path, content: bytes) -> None:
    temporary = target.with_name(f".{target.name[:100]}.{os.urandom(4).hex()}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _NEW_FILE_MODE)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            os.chmod(temporary, target.stat().st_mode & 0o7777)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
