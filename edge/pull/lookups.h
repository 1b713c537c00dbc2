/* Asks central's catalogue what it knows of the digest of every fill that starts (size, piece proofs, a manifest's
 * children). Queries that arise together are sent in one message. The same messages keep this edge's settings current.
 * Thread: the fetch loop. */
#ifndef ENTREPOT_EDGE_PULL_LOOKUPS_H
#define ENTREPOT_EDGE_PULL_LOOKUPS_H

#include "common/fill/fill.h"
#include "edge/link/central_post.h"
#include "edge/link/settings.h"

struct lookups;

struct lookups *lookups_new(struct loop *l, struct central_posts *central, struct settings *settings);
void lookups_free(struct lookups *k);
/* Asked before central; answers at once. m: set for a manifest, and then the caller calls manifest_fini. NULL: only
 * central is asked. */
struct lookups_known {
    bool (*blob)(const struct digest *d, int64_t *size, void *arg);
    bool (*manifest)(const struct digest *d, struct wire_manifest *m, void *arg);
    void *arg;
};
void lookups_first_ask(struct lookups *k, const struct lookups_known *known);
/* Begins to ask for settings, now and every few seconds. Calls ready(arg) once: at once if settings are stored, else
 * when central has sent them, cannot be reached or takes too long. */
void lookups_begin(struct lookups *k, void (*ready)(void *arg), void *arg);
/* Asks for settings now, unless that is being done. */
void lookups_refresh(struct lookups *k);
/* Sets heard, which is called when central has answered under our current settings (good), or when requested settings
 * did not arrive. */
void lookups_on_heard(struct lookups *k, void (*heard)(bool good, void *arg), void *arg);
/* For fill_engine_config.ask_catalogue: fill_advise is called in any case. */
void lookups_ask(struct lookups *k, struct fill *f, const struct fill_spec *spec);

#endif
