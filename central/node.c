/* `entrepot-central serve`: central's node. Misses go to the upstreams, everything learned goes into the catalogue, and
 * edges ask it on the fleet port. Thread: main. */
#include "central/program.h"

#include "central/backup/backup.h"
#include "central/catalog/catalogue_part.h"
#include "central/dns/dns_part.h"
#include "central/fleet/fleet_part.h"
#include "central/fleet/members_part.h"
#include "central/freshness/freshness_part.h"
#include "central/names/names_part.h"
#include "central/reports/reports_part.h"
#include "central/upstream/upstreams_part.h"
#include "central/warehouse/hosted.h"
#include "central/warehouse/warehouse_part.h"
#include "common/core/log.h"
#include "common/node/runtime.h"

/* Each knows those above it. The fleet's lookups come before the registry that resolves tags for them: at the end those
 * that wait are told by the registry. */
static const struct node_part *const parts[] = {
    &part_store,     /* the blobs on disk */
    &part_names,     /* what a name means */
    &part_catalogue, /* what was learned */
    &part_warehouse, /* what is hosted */
    &part_upstreams, /* where the rest comes from */
    &part_members,   /* who belongs to the fleet */
    &part_fleet,     /* what edges ask */
    &part_reports,   /* what edges say of themselves */
    &part_freshness, /* which tags are checked without a request */
    &part_asker,     /* questions to sources */
    &part_fills,     /* downloads */
    &part_dns,       /* which edge a client is sent to */
    &part_registry,  /* /v2/ */
    NULL,
};

static int finish_restore(const char *data, struct error *err) {
    int r = backup_finish_restore(data, err);
    if (r > 0) log_info("restore_finished", KV_S("data", data), KV_S("why", "it was cut"));
    return r < 0 ? r : 0;
}

int central_serve(const struct command_context *ctx) {
    static const struct runtime_tier tier = {
        .parts = parts, .guard = &hosted_guard, .not_with = "settings.pb", .prepare = finish_restore};
    return runtime_serve(ctx, &tier);
}
