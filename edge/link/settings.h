/* What central has told this edge about names: which upstreams exist, what is hosted, how long tags are fresh. The
 * settings are stored on disk, so that an edge can start without central. Thread: any for readers; settings_apply on
 * the fetch loop. */
#ifndef ENTREPOT_EDGE_LINK_SETTINGS_H
#define ENTREPOT_EDGE_LINK_SETTINGS_H

#include "common/oci/resolve.h"
#include "common/wire/wire.h"

struct settings;

/* This edge's own names and addresses, added to central's. Borrowed. */
struct settings_own {
    char *const *names, *const *addresses; /* as in struct name_rules */
    size_t n_names, n_addresses;
};
/* Loads DATA/settings.pb. If that is missing or damaged there are no settings. Never NULL. */
struct settings *settings_new(const char *data, const struct settings_own *own);
void settings_free(struct settings *s);
/* Takes over the content of *ws, which becomes empty, and writes it to disk. A failed write is logged. */
void settings_apply(struct settings *s, struct wire_settings *ws);
/* The version of the settings; 0: there are none. */
uint64_t settings_version(const struct settings *s);
/* True if central has sent settings, in this run or an earlier one. */
bool settings_known(const struct settings *s);
/* The rules by which names are decided. Valid until settings_free. */
const struct name_rules *settings_rules(const struct settings *s);
/* For an upstream: how long its tags are fresh (ms), and whether its content is served only in the repositories that
 * refer to it. False: central has no such upstream. */
bool settings_upstream(const struct settings *s, const char *name, int64_t *fresh_for_ms, bool *per_repository);
/* Where central reaches this upstream; valid until settings_free. Returns their number; 0: central has no such upstream,
 * or is of a version that does not tell. */
size_t settings_endpoints(const struct settings *s, const char *name, char ***urls);

#endif
