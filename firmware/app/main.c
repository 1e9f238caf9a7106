/* The node: all memory of the core is here, sized by the compiled model. */
#include "model.h"
#include "tfl/tfl.h"
#include "tfl/tfl_node.h"

#if TFL_MODEL_HEAD_COUNT > 0u
static int32_t master[TFL_MODEL_WEIGHTS];
static int16_t broadcast[TFL_MODEL_WEIGHTS];
static int32_t logits[TFL_MODEL_CLASSES];
static uint32_t features[TFL_MODEL_FEATURES + 1u];
#if TFL_MODEL_ADAPTER_COUNT > 0u && !TFL_ADAPTER
#error "TFL_ADAPTER is 0, but the model has an adapter"
#endif
#if TFL_MODEL_ADAPTER_COUNT > 0u
static int16_t adapter_features[TFL_MODEL_FEATURES];
static int8_t adapted[TFL_MODEL_FEATURES];
#define MORE .adapter_features = adapter_features, .adapted = adapted
#elif TFL_FEEDBACK
static int32_t residual[TFL_MODEL_HEAD_COUNT];
#define MORE .residual = residual
#else
#define MORE .residual = 0
#endif
#define HEAD .master = master, .broadcast = broadcast, .logits = logits, .features = features, MORE
#else
#define HEAD .master = 0
#endif

/* int32_t: kernels may read the arena in words. */
static int32_t arena[(TFL_MODEL_ARENA_BYTES + 3u) / 4u];
static uint8_t body[TFL_MODEL_BODY_BYTES] TFL_RETAINED;
static struct tfl_retained retained TFL_RETAINED;
static struct tfl_port port;
static struct tfl_node node;

static const struct tfl_node_config config = {
    .port = &port,
    .model = &tfl_model,
    .arena = (int8_t *)arena,
    .body = body,
    .body_bytes = sizeof body,
    .retained = &retained,
    HEAD,
};

int main(int argc, char **argv)
{
    int more = 1;

    if (tfl_port_init(&port, argc, argv) != 0 || tfl_node_init(&node, &config) != 0) {
        return 1;
    }
    while (more >= 0) {
        more = tfl_node_poll(&node);
        if (more == 0 && port.idle != 0) {
            port.idle(port.context);
        }
    }
    return more == TFL_ERROR_LINK ? 0 : 1;
}
