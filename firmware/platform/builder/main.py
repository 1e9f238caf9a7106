"""The build of one firmware: one port, the core, one app and a compiled model (SCons, run by PlatformIO).

Environment variables, set by tinyfl_host.build: TFL_MODEL_DIR (model.c, model.h), TFL_APP (main or profile),
TFL_OPTIMISE (speed, size or balanced) and, to see how large a firmware is that does not fit, TFL_OVERSIZE=1.
TFL_SANITIZE=1: a host process with ASan and UBSan.
TFL_MONOCYPHER: the folder of monocypher.c, where the app is not "profile".
"""

import os
import re
import sys
from pathlib import Path

from SCons.Script import AlwaysBuild, Default, DefaultEnvironment

WARNINGS = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
OPTIMISE = ["-O2", "-g", "-ffunction-sections", "-fdata-sections", "-fno-common"]
FAST = ("head.c", "adapter.c", "frame.c")  # of core, beside the operators
OVERSIZE = 0x8000000  # 128 MiB: more than any board has
RETAINED = """'-DTFL_RETAINED=__attribute__((section(".noinit")))'"""  # quoted for the shell

env = DefaultEnvironment()
firmware = Path(env.subst("$PROJECT_SRC_DIR"))


def option(name, fallback=None):
    """A custom_ option of this environment."""
    return env.GetProjectOption(f"custom_{name}", fallback)


def required(variable):
    """An environment variable that only `tinyfl build` knows."""
    value = os.environ.get(variable)
    if not value:
        sys.exit(f"{variable} is not set: build with `tinyfl build MODEL --env {env.subst('$PIOENV')}`")
    return value


def use_host():
    """A board as a process: the compiler of this computer."""
    cc = os.environ.get("CC", "cc")
    env.Replace(CC=cc, LINK=cc, AR="ar", RANLIB="ranlib", PROGSUFFIX="")
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"] if os.environ.get("TFL_SANITIZE") else []
    env.Append(CPPDEFINES=["_POSIX_C_SOURCE=200809L"], CCFLAGS=sanitize, LINKFLAGS=sanitize)


def use_cortex_m():
    """A Cortex-M board: no libc, our start-up, the memory of platformio.ini."""
    prefix = "arm-none-eabi-"
    tools = {"CC": "gcc", "AS": "gcc", "LINK": "gcc", "AR": "gcc-ar", "RANLIB": "gcc-ranlib", "OBJCOPY": "objcopy"}
    env.Replace(**{tool: prefix + program for tool, program in tools.items()}, PROGSUFFIX=".elf")
    cpu = env.Split(option("cpu"))
    cortexm = firmware / "platform" / "cortexm"
    env.Append(
        CCFLAGS=[*cpu, "-ffreestanding", RETAINED],
        CPPPATH=[str(cortexm)],
        CPPDEFINES=[*option("defines", "").split(), *regions()],
        LINKFLAGS=[*cpu, "-nostdlib", "-Wl,--gc-sections,--fatal-warnings,-Map,${BUILD_DIR}/firmware.map"],
        LIBS=["gcc"],
        LIBPATH=[str(cortexm), "$BUILD_DIR"],
        LDSCRIPT_PATH=write_memory(),
    )


def needed(model):
    """What the model needs of core, as its model.h says: without an adapter the code for one is left out."""
    none = re.search(r"^#define TFL_MODEL_ADAPTER_COUNT 0u$", (Path(model) / "model.h").read_text(), re.M)
    return [("TFL_ADAPTER", 0 if none else 1)]


def regions():
    """Where a board that learns finds its samples and keeps its head; inference alone needs neither."""
    names = () if app == "profile" else ("data_address", "data_bytes", "store_address", "store_pages")
    return [(f"TFL_{name.upper()}", f"{option(name)}u") for name in names if option(name)]


def write_memory():
    """The linker script with this board's memory."""
    oversize = OVERSIZE if os.environ.get("TFL_OVERSIZE") else 0
    path = Path(env.subst("$BUILD_DIR")) / "memory.ld"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"MEMORY\n{{\n"
        f"    FLASH (rx) : ORIGIN = 0, LENGTH = {int(option('flash'), 0) + oversize:#x}\n"
        f"    RAM (rwx) : ORIGIN = 0x20000000, LENGTH = {int(option('ram'), 0) + oversize:#x}\n"
        f"}}\n"
        f"TFL_STACK_BYTES = {option('stack')};\n"
        f"INCLUDE cortexm.ld\n"
    )
    return str(path)


def sources(app):
    """Which files of firmware/ make this app; a profile holds inference alone."""
    core = ["core/ops/"] if app == "profile" else ["core/"]
    platform = ["core/image.c", "core/wire.c"] if option("cpu") is None else ["platform/cortexm/"]
    return [f"+<{path}>" for path in (*core, f"ports/{option('port')}/", *platform, f"app/{app}.c")]


def build_monocypher(folder):
    """BLAKE2b for core/auth.c; the linker leaves out the rest. Not unrolled it takes 3 kB of flash instead of 16."""
    env.Append(CPPPATH=[folder])
    foreign = env.Clone()
    foreign.Append(CCFLAGS=["-Os", "-w"], CPPDEFINES=["BLAKE2_NO_UNROLLING"])
    foreign.BuildSources("$BUILD_DIR/monocypher", folder)


def prefer_size(env, node):
    """What runs once a message is built small; what runs once a weight or a byte, as fast as it gets.

    With size as the goal the operators are built small too, but on Armv7-M alone: on others a kilobyte less would cost
    twice the instructions (docs/PERFORMANCE.md).
    """
    path = Path(node.srcnode().get_path())
    small = path.parent.name == "core" and path.name not in FAST
    small |= (
        path.parent.name == "ops"
        and goal == "size"
        and re.search(r"-mcpu=cortex-m[347]\b", option("cpu", "")) is not None
    )
    if not small:
        return node
    return env.Object(node, CCFLAGS=[*env["CCFLAGS"], "-Os"])


def start_upload(target, source, env):
    """Flashes the board with pyocd."""
    name = option("upload")
    if name is None:
        sys.exit(f"{env.subst('$PIOENV')} is not a board that can be flashed")
    command = [env.subst("$PYTHONEXE"), "-m", "pyocd", "load", "--no-wait", "--target", name, str(source[0])]
    probe = os.environ.get("TFL_PROBE")
    return env.Execute([[*command, *(["--uid", probe] if probe else [])]])


model = required("TFL_MODEL_DIR")
app = os.environ.get("TFL_APP", "main")
goal = os.environ.get("TFL_OPTIMISE", "balanced")
env.Replace(PROGNAME="firmware", SIZETOOL="size")
env.Append(
    CFLAGS=WARNINGS,
    CCFLAGS=OPTIMISE,
    CPPPATH=[str(firmware / "include"), model],
    CPPDEFINES=needed(model),
)
use_host() if option("cpu") is None else use_cortex_m()
env.Replace(SRC_FILTER=sources(app))
env.BuildSources("$BUILD_DIR/model", model)
if app != "profile":
    build_monocypher(required("TFL_MONOCYPHER"))

env.AddBuildMiddleware(prefer_size)
program = env.BuildProgram()
upload = env.Alias("upload", program, start_upload)
AlwaysBuild(upload)
Default(program)
