"""Block I/O of both versions, by `major:minor`."""

from __future__ import annotations

from collections.abc import Mapping

from metrics.errors import Malformed
from metrics.parse.figures import DeviceIo


def unified(data: bytes) -> dict[str, DeviceIo]:
    """io.stat: `8:0 rbytes=… wbytes=… rios=… wios=… dbytes=… dios=…`, further fields skipped.

    A device may stand there without any field, or twice (a known flaw of some kernels: two
    devices' lines run together); the fields after its number count.
    """
    result: dict[str, DeviceIo] = {}
    if not data:
        return result
    for line in data.splitlines():
        device, fields = "", {}
        for word in line.split():
            name, equals, value = word.partition(b"=")
            if equals:
                fields[name] = value
            else:
                device, fields = _device(name), {}
        if device:
            try:
                result[device] = DeviceIo(
                    int(fields.get(b"rbytes", 0)),
                    int(fields.get(b"wbytes", 0)),
                    int(fields.get(b"rios", 0)),
                    int(fields.get(b"wios", 0)),
                )
            except ValueError:
                raise Malformed(f"io.stat: {line[:80]!r}") from None
    return result


def v1(sizes: bytes, operations: bytes | None) -> dict[str, DeviceIo]:
    """blkio.throttle.io_service_bytes_recursive and .io_serviced_recursive: `8:0 Read 4096`.

    Unlike blkio.io_service_bytes these count whatever the I/O scheduler. They miss buffered
    writes, which v1 charges to nobody.
    """
    result: dict[str, DeviceIo] = {}
    operations_by = _by_device(operations) if operations else {}
    for device, (read, written) in _by_device(sizes).items():
        result[device] = DeviceIo(read, written, *operations_by.get(device, (0, 0)))
    return result


def totals(devices: Mapping[str, DeviceIo]) -> tuple[int, int]:
    """Bytes read and written on all devices."""
    return (
        sum(device.read_bytes for device in devices.values()),
        sum(device.written_bytes for device in devices.values()),
    )


def _by_device(data: bytes) -> dict[str, tuple[int, int]]:
    reads: dict[bytes, int] = {}
    writes: dict[bytes, int] = {}
    words = iter(data.split())
    try:
        # By threes; what is left at the end is `Total 0`, without a device.
        for device, operation, value in zip(words, words, words, strict=False):
            if operation == b"Read":
                reads[device] = int(value)
            elif operation == b"Write":
                writes[device] = int(value)
    except ValueError:
        raise Malformed(f"blkio: {data[:80]!r}") from None
    return {_device(name): (reads.get(name, 0), writes.get(name, 0)) for name in reads | writes}


def _device(name: bytes) -> str:
    major, colon, minor = name.partition(b":")
    if not (colon and major.isdigit() and minor.isdigit()):
        raise Malformed(f"not a device number: {name[:80]!r}")
    return name.decode("ascii")
