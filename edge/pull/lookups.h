/* Asking central's catalogue: every fill that starts asks what is known of its digest (size, proofs of its pieces, a
 * manifest's children). Questions that arise together go in one message. The same messages keep this edge's settings
 * current. Thread: the fetch loop. */
#ifndef ENTREPOT_EDGE_PULL_LOOKUPS_H
#define ENTREPOT_EDGE_PULL_LOOKUPS_H

#include "common/fill/fill.h"
#include "edge/pull/central_source.h"
#include "edge/link/settings.h"

struct lookups;

struct lookups *lookups_new(struct loop *l, struct central_source *central, struct settings *settings);
void lookups_free(struct lookups *k);
/* Begins to ask for settings now and every few seconds. Calls ready(arg) once: at once if settings are kept, else when
 * central has told them, cannot be reached or takes too long: without them, names would be guessed at. */
void lookups_begin(struct lookups *k, void (*ready)(void *arg), void *arg);
/* Asks for settings now, unless that is under way. */
void lookups_refresh(struct lookups *k);
/* heard is called when central has answered by the settings we have now (good), or when those that were asked for did
 * not come. */
void lookups_on_heard(struct lookups *k, void (*heard)(bool good, void *arg), void *arg);
/* For fill_engine_config.ask_catalogue: fill_advise follows in any case. */
void lookups_ask(struct lookups *k, struct fill *f, const struct fill_spec *spec);

#endif
