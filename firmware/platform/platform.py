"""PlatformIO's entry to this development platform: nothing is downloaded, so nothing is configured."""

from platformio.public import PlatformBase


class TinyflPlatform(PlatformBase):
    """Compilers come from PATH; boards are the environments of platformio.ini."""
