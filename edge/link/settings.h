/* What central has told this edge about names: which upstreams there are, what is hosted, how long tags are fresh. Kept
 * on disk, so that an edge that starts without central knows what it knew. Thread: readers any; settings_apply the
 * fetch loop. */
#ifndef ENTREPOT_EDGE_LINK_SETTINGS_H
#define ENTREPOT_EDGE_LINK_SETTINGS_H

#include "common/oci/resolve.h"
#include "common/wire/wire.h"

struct settings;

/* This edge's own: names are added to central's. Borrowed. */
struct own_names {
    char *const *names, *const *addresses; /* as in struct name_rules */
    size_t n_names, n_addresses;
};
/* Loads DATA/settings.pb if it is there and good, else there are none. */
struct settings *settings_new(const char *data, const struct own_names *own);
void settings_free(struct settings *s);
/* Takes over what *ws holds (which becomes empty), writes it to disk. */
void settings_apply(struct settings *s, struct wire_settings *ws);
/* 0: there are none. */
uint64_t settings_version(const struct settings *s);
/* Central has told some, in this life or an earlier one. */
bool settings_known(const struct settings *s);
/* Valid until settings_free. */
const struct name_rules *settings_rules(const struct settings *s);
/* Of an upstream: how long its tags are fresh (ms), and whether its content is scoped by repository. False: not
 * configured at central. */
bool settings_upstream(const struct settings *s, const char *name, int64_t *fresh_for_ms, bool *per_repository);

#endif
