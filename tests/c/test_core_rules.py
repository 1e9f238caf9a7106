"""The rules of firmware/core, by the cross compiler: no vendor header, no writable static data, no floating point, no
heap, no 64-bit arithmetic in training, a stack that fits the smallest board."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
from support_runner import FLAGS, QUICK_COMPILERS, ROOT

from tinyfl_host.thirdparty import fetch

FIRMWARE = ROOT / "firmware"
CORE = sorted((FIRMWARE / "core").glob("*.c")) + sorted((FIRMWARE / "core/ops").glob("*.c"))
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O2"]
CPUS = {
    "m0": ["-mcpu=cortex-m0", "-mthumb"],
    "m3": ["-mcpu=cortex-m3", "-mthumb"],
    "m4": ["-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"],
    "m55": ["-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"],
}
# What the ops may call of the compiler's own library and of memory.c; nothing else leaves core.
MEMORY = {"memcpy", "memset", "memmove", "memcmp"}
DIVISION = {"__aeabi_idiv", "__aeabi_uidiv", "__aeabi_idivmod", "__aeabi_uidivmod"}
WIDE_PRODUCT = {"__aeabi_lmul"}  # tfl_high_mul on a Cortex-M0: requantisation, never training
CRYPTO = {"crypto_blake2b_keyed", "crypto_blake2b_keyed_init", "crypto_blake2b_update", "crypto_blake2b_final"}
CRYPTO |= {"crypto_verify16", "crypto_wipe"}  # of Monocypher, which auth.c alone knows
FOREIGN = ["-Os", "-w", "-DBLAKE2_NO_UNROLLING"]  # how it is compiled: firmware/platform/builder/main.py
TRAINING = ("head.c", "adapter.c", "tensor.c", "private.c", "codec.c", "codec_entropy.c", "residual.c", "broadcast.c")
TRAINING += ("round.c", "node.c", "dataset.c", "session.c", "frame.c", "image.c", "wire.c")
# Node, session, training, codecs, store and an adapter at -O2; images have most of it at -Os, and few have an adapter.
CORE_FLASH = 25 * 1024
OPERATOR_FLASH = {"m0": 2 * 1024, "m3": 3 * 1024, "m4": 3 * 1024, "m55": 4 * 1024}  # of one operator
LARGE_FLASH = {"sparse_dense_large": 13 * 1024}  # chosen where a model saves more than 20,000 bytes by it
FUNCTION_STACK = 320
PORT_STACK = 64  # allowed to a port's read, write, sample, ticks
STACK_GOAL = 1280 - 32 - 96  # the micro:bit's, less an interrupt's frame and handler
VECTORS = 128  # what Helium's eight registers take more; such boards have hundreds of kilobytes


SLOW_CPUS = ("m0", "m3", "m55")  # what they share with the others is most


@pytest.fixture(
    scope="module", params=[pytest.param(cpu, marks=[pytest.mark.slow] * (cpu in SLOW_CPUS)) for cpu in CPUS]
)
def objects(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an object, a stack usage and a call graph of each file of core, for one Cortex-M."""
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    extra = [*CPUS[request.param], "-ffreestanding", "-fcallgraph-info=su", "-fstack-usage"]
    compile_core(["arm-none-eabi-gcc", *STRICT, *extra], folder)
    (folder / "foreign").mkdir()
    command = ["arm-none-eabi-gcc", *extra, *FOREIGN, "-c", str(fetch("monocypher") / "monocypher.c")]
    subprocess.run(command, cwd=folder / "foreign", check=True, timeout=120)
    return folder


def compile_core(compiler: list[str], folder: Path, *more: Path) -> None:
    """With nothing but firmware/include on the path; auth.c also finds Monocypher's header."""
    include = ["-I", str(FIRMWARE / "include")]
    ours = [str(path) for path in (*CORE, *more) if path.name != "auth.c"]
    auth = ["-I", str(fetch("monocypher")), "-c", str(FIRMWARE / "core/auth.c")]
    for what in (["-c", *ours], auth):
        built = subprocess.run([*compiler, *include, *what], cwd=folder, capture_output=True, text=True, timeout=120)
        assert built.returncode == 0, built.stderr


def tool(name: str, *arguments: str) -> str:
    command = [f"arm-none-eabi-{name}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_nothing_static_can_be_written(objects: Path) -> None:
    for line in tool("size", *map(str, objects.glob("*.o"))).splitlines()[1:]:
        _, data, bss, *_, name = line.split()
        assert (data, bss) == ("0", "0"), name


def test_core_calls_nothing_but_itself(objects: Path) -> None:
    for path in objects.glob("*.o"):
        names = {line.split()[-1] for line in tool("nm", "-u", str(path)).splitlines() if line.strip()}
        foreign = {name for name in names if not name.startswith("tfl_")}
        allowed = MEMORY | DIVISION | (set() if f"{path.stem}.c" in TRAINING else WIDE_PRODUCT)
        allowed |= CRYPTO if path.name == "auth.o" else set()
        assert foreign <= allowed, (path.name, foreign - allowed)


def test_no_floating_point_instruction(objects: Path) -> None:
    for path in objects.glob("*.o"):
        code = tool("objdump", "-d", "--no-show-raw-insn", str(path))
        found = re.findall(r"\tv\w+\.f(?:16|32|64)\b.*", code)
        assert not found, (path.name, found[:3])


def test_training_multiplies_32_bits(objects: Path) -> None:
    for name in ("head.o", "adapter.o"):
        code = tool("objdump", "-d", "--no-show-raw-insn", str(objects / name))
        assert not re.findall(r"\t[us]m(?:ull|lal)\b.*", code)


def test_flash_of_core_and_of_each_operator(objects: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every node has the core; of the operators an image has those of its model."""
    sizes = {}
    for line in tool("size", *map(str, objects.glob("*.o"))).splitlines()[1:]:
        text, *_, path = line.split()
        sizes[Path(path).stem] = int(text)
    operators = {path.stem: sizes[path.stem] for path in CORE if path.parent.name == "ops"}
    core = sum(sizes.values()) - sum(operators.values())
    with capsys.disabled():
        print(f"\n{objects.name[:-1]}: core {core} bytes of flash, all operators {sum(operators.values())}", end="")
    assert core < CORE_FLASH
    limit = OPERATOR_FLASH[objects.name[:-1]]
    assert {name: size for name, size in operators.items() if size >= LARGE_FLASH.get(name, limit)} == {}


def test_stack_of_each_function(objects: Path) -> None:
    for path in objects.glob("*.su"):
        for line in path.read_text().splitlines():
            _, size, kind = line.split("\t")
            assert kind == "static" and int(size) <= FUNCTION_STACK, line


def test_the_deepest_stack_fits_the_smallest_board(objects: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the compiler's call graph; what is called through a pointer is a request's handler, a kernel or the port."""
    own: dict[str, int] = {}
    calls: dict[str, set[str]] = {}
    home: dict[str, str] = {}
    for path in objects.rglob("*.ci"):
        text = path.read_text()
        nodes = {t: int(n) for t, n in re.findall(r'node: \{ title: "([^"]+)" label: "[^"]*\\n(\d+) bytes', text)}
        own |= nodes
        home |= dict.fromkeys(nodes, path.stem)
        for source, target in re.findall(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', text):
            calls.setdefault(source, set()).add(target)
    handlers = {name for name in own if re.search(r"node\.c:on_(?!request)|^tfl_round_(?!poll|offered)", name)}
    payload = {name for name in own if name.endswith("keep.c:give")}
    kernels = {f"tfl_{path.stem}" for path in CORE if path.parent.name == "ops"}
    assert len(handlers) == 10 and len(payload) == 1 and kernels <= own.keys()

    def pointed(caller: str) -> int:
        """Of what this function can call through a pointer, the port besides."""
        if home[caller] == "dataset" or caller.endswith("node.c:on_infer"):
            return max(depth(kernel) for kernel in kernels) + 32  # run() and run_layer() of model.c
        targets = {"node": handlers, "store": payload}.get(home[caller], set())
        return max((depth(target) for target in targets), default=0)

    @cache
    def depth(name: str, above: tuple[str, ...] = ()) -> int:
        assert name not in above, f"{name} calls itself"
        if name == "__indirect_call":
            return max(PORT_STACK, pointed(above[-1]))
        return own.get(name, 0) + max((depth(t, (*above, name)) for t in calls.get(name, ())), default=0)

    with capsys.disabled():
        print(f"\n{objects.name[:-1]}: at most {depth('tfl_node_poll')} bytes of stack", end="")
    goal = STACK_GOAL + (VECTORS if objects.name.startswith("m55") else 0)
    assert depth("tfl_node_poll") + 16 < goal  # 16: main()


COMPILERS_OWN = ("stdint.h", "stddef.h", "string.h", "arm_mve.h")


def test_core_includes_no_vendor_header() -> None:
    for path in [*CORE, *(FIRMWARE / "core").rglob("*.h"), *(FIRMWARE / "include").rglob("*.h")]:
        for name in re.findall(r'#include [<"]([^>"]+)[>"]', path.read_text()):
            local = (path.parent / name).exists() or (FIRMWARE / "include" / name).exists()
            foreign = ("monocypher.h",) if path.name == "auth.c" else ()
            assert local or name in (*COMPILERS_OWN, *foreign), (path.name, name)


@pytest.mark.parametrize("compiler", QUICK_COMPILERS)
def test_core_and_the_template_port_compile_on_a_host(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    compile_core([compiler, *FLAGS], tmp_path, FIRMWARE / "ports/template/port.c")


def test_the_template_port_compiles_for_a_board(tmp_path: Path) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    source = str(FIRMWARE / "ports/template/port.c")
    command = [
        "arm-none-eabi-gcc",
        *STRICT,
        *CPUS["m0"],
        "-ffreestanding",
        "-I",
        str(FIRMWARE / "include"),
        "-c",
        source,
    ]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
