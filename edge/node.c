/* `entrepot-edge serve`: an edge's node. Names come from central's settings, misses go to central, and the catalogue is
 * asked about every fill. Thread: main. */
#include "edge/program.h"

#include "common/node/runtime.h"
#include "edge/dns/dns_part.h"
#include "edge/link/link_part.h"
#include "edge/pull/pull_part.h"
#include "edge/replica/replica_part.h"
#include "edge/reports/reporter_part.h"

/* Each knows those above it. */
static const struct node_part *const parts[] = {&part_store,    &part_link,  &part_replica,  &part_pull,
                                                &part_asker,    &part_fills, &part_registry, &part_reporter,
                                                &part_edge_dns, NULL};

int edge_serve(const struct command_context *ctx) {
    static const struct runtime_tier tier = {.parts = parts, .not_with = "catalog.db"};
    return runtime_serve(ctx, &tier);
}
