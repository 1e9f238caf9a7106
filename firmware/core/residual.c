#include "residual.h"

#include <string.h>

#include "codec.h"
#include "keep.h"

void tfl_residual_settle(struct tfl_node *node, uint32_t taken)
{
    const struct tfl_update *update = &node->update;
    struct tfl_walk walk;

    if (update->round != 0u && update->round == taken && update->feedback != 0u) {
        tfl_walk_start(&walk, &node->head.tensor, update);
        while (tfl_walk_next(&walk)) {
            node->head.tensor.residual[walk.at] = tfl_walk_rest(&walk); /* no later weight's choice reads this one */
        }
        node->residual_round = taken;
    }
    node->update.round = 0;
}

int tfl_residual_recall(struct tfl_node *node, uint32_t taken)
{
    int found;

    if (taken == node->residual_round && taken != 0u) {
        return 0;
    }
    if (taken == 0u) {
        memset(node->head.tensor.residual, 0, 4u * node->head.tensor.count);
        node->residual_round = 0;
        return 0;
    }
    found = tfl_keep_residual(node, taken);
    if (found == 1) {
        node->residual_round = taken;
    }
    return found == 0 ? TFL_ERROR_RESIDUAL : found < 0 ? found : 0;
}
