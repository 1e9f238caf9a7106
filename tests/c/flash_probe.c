/* The flash drivers of boards without hardware: one access, named by argv: OPERATION OFFSET SIZE BYTE, again and again. An
   access that is refused ends the program with 2. posix: argv[1] is the file, argv[2] the operation to cut. */
#include <stdlib.h>
#include <string.h>

#include "flash.h"

int main(int argc, char **argv)
{
    struct tfl_port port = {0};
    static uint8_t data[4096], back[4096];

#if defined(PROBE_POSIX)
    if (flash_open(&port, argv[1], strtol(argv[2], NULL, 10)) != 0) {
        return 3;
    }
#else
    flash_open(&port);
#endif
    for (int i = 3; i + 3 < argc; i += 4) {
        uint32_t offset = (uint32_t)strtoul(argv[i + 1], NULL, 0), size = (uint32_t)strtoul(argv[i + 2], NULL, 0);
        int status;

        memset(data, (int)strtoul(argv[i + 3], NULL, 16), sizeof data);
        if (strcmp(argv[i], "erase") == 0) {
            status = port.flash->erase(port.context, offset);
        } else if (strcmp(argv[i], "program") == 0) {
            status = port.flash->program(port.context, offset, data, size);
        } else {
            status = port.flash->read(port.context, offset, back, size);
            if (status == 0 && memcmp(back, data, size) != 0) {
                return 1;
            }
        }
        if (status != 0) {
            return 2;
        }
    }
    return 0;
}
