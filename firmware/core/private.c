#include "private.h"

#include "adapter.h"
#include "head.h"

const struct tfl_tensor *tfl_weights_of(const struct tfl_node *node, unsigned tensors)
{
    if (tensors == TFL_TENSOR_HEAD) {
        return &node->head.tensor;
    }
    return tensors == TFL_TENSOR_ADAPTER ? &node->adapter.tensor : &node->weights;
}

int tfl_private_settle(struct tfl_node *node, unsigned tensors, uint32_t taken)
{
    const struct tfl_tensor *own = tfl_weights_of(node, TFL_TENSOR_ALL ^ tensors);

    if (tensors != node->shared) { /* what is private from now on was the server's */
        node->private_trained = 0;
        node->private_round = TFL_PRIVATE_NEVER;
    }
    if (node->private_trained != 0u && node->private_trained == taken) {
        tfl_tensor_choose(own);
        node->private_round = taken;
    }
    node->private_trained = 0;
    tfl_tensor_start(own);
    if (taken == 0u) {
        node->private_round = 0;
        if (tensors == TFL_TENSOR_ADAPTER) {
            tfl_head_reset(&node->head);
        } else {
            tfl_adapter_reset(&node->adapter);
        }
    }
    return taken != TFL_PRIVATE_NEVER && node->private_round == taken ? 0 : TFL_ERROR_RESIDUAL;
}

void tfl_private_share(struct tfl_node *node, unsigned tensors)
{
    node->shared = (uint8_t)tensors;
    if (tensors == TFL_TENSOR_ALL) {
        node->private_trained = 0;
        node->private_round = TFL_PRIVATE_NEVER;
    }
}
