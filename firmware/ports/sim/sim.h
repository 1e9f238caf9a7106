/* Boards inside the host's process: a shared library of the core and one compiled model (docs/SIM.md).

   All memory is the caller's. A board's own is small, because what it needs only while it answers (arena, body, scratch of
   the head) lies in a workspace, of which each thread has one. A board belongs to one thread at a time, from a request until
   its reply. */
#ifndef SIM_H
#define SIM_H

#include <stdint.h>

#if defined(__GNUC__)
#define SIM_EXPORT __attribute__((visibility("default")))
#else
#define SIM_EXPORT
#endif

struct sim_reply {
    const uint8_t *body; /* in the workspace or in the board: until the next call with either */
    uint32_t length;
    uint32_t type;
};

SIM_EXPORT uint32_t sim_board_bytes(void);
SIM_EXPORT uint32_t sim_workspace_bytes(void);

/* Starts the board in sim_board_bytes() of memory, 16-byte aligned. Image and cache stay the board's; the cache holds the
   embeddings of this many bytes. 0, TFL_ERROR_SAMPLE for a damaged image, or what tfl_node_init says. */
SIM_EXPORT int sim_start(void *board, void *workspace, const uint8_t *image, uint32_t image_bytes, uint8_t *cache,
                         uint32_t cache_bytes);

/* Hands a message over and works on it for at most this many milliseconds and one sample; body must stay until the
   reply. 1: *reply is there; 0: go on with sim_work; negative tfl_error: the board is broken. */
SIM_EXPORT int sim_ask(void *board, void *workspace, uint8_t type, const uint8_t *body, uint32_t length,
                       uint32_t milliseconds, struct sim_reply *reply);

/* The same for a request that is under way, with the same workspace. */
SIM_EXPORT int sim_work(void *board, void *workspace, uint32_t milliseconds, struct sim_reply *reply);

#endif
