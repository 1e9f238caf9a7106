/* Flash in a file, for a board that is a process. It keeps the rules of real flash: what breaks them ends the process. */
#ifndef TFL_POSIX_FLASH_H
#define TFL_POSIX_FLASH_H

#include "tfl/tfl_port.h"

#ifndef FLASH_PAGE_BYTES
#define FLASH_PAGE_BYTES 1024u
#define FLASH_PAGES 32u
#endif
#define FLASH_CUT_STATUS 75 /* exit status of a process whose power was cut */

/* Gives the port the flash in this file, which is made where it is missing. cut: the number, from 1, of the erase or program
   in whose middle the process ends; 0: none. 0, or -1 and errno. */
int flash_open(struct tfl_port *port, const char *path, long cut) TFL_CHECKED;

#endif
