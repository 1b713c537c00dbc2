/* Central as a source of fills and answers: the registry API on its fleet port, with a breaker. When central cannot be
 * reached, requests fail at once and a probe in the background finds out when it is back; nobody waits for a time-out
 * twice. In its first seconds away, which a restart takes, they wait for it instead, but for tags that are known here.
 * When it is merely silent, those alone fail at once. Thread: the fetch loop, but for what is marked. */
#ifndef ENTREPOT_EDGE_PULL_CENTRAL_SOURCE_H
#define ENTREPOT_EDGE_PULL_CENTRAL_SOURCE_H

#include "common/access/share.h"
#include "common/source/source.h"
#include "common/http/client.h"
#include "edge/link/central_post.h"

struct central_source;

/* uplink and settings are borrowed. */
struct central_source_config {
    const struct uplink *uplink;
    const struct settings *settings;
    struct loop *loop;
    struct http_client *client;
    unsigned *pulls;              /* fetches under way are counted here; NULL: nobody wants to know */
    unsigned requests;            /* under way at a time, shared among callers; further ones wait */
    unsigned queue_of_one, queue; /* that may wait, of a caller and of all */
};
struct central_source *central_source_new(const struct central_source_config *cfg);
/* True if a tag can be answered without central, so that nobody need wait for central when it does not answer. */
void central_source_known_tags(struct central_source *c,
                               bool (*knows)(const struct repo_name *repo, const char *tag, void *arg), void *arg);
/* found is called whenever central is there again after it was not. */
void central_source_on_found(struct central_source *c, void (*found)(void *arg), void *arg);
/* outdated is called when central refuses what was decided under the settings we have. */
void central_source_on_outdated(struct central_source *c, void (*outdated)(void *arg), void *arg);
/* Another call has reached central: the same as a successful probe. arg: the source. */
void central_source_found(void *arg);
/* Central has refused this edge. */
void central_source_refused(struct central_source *c, const char *why);
void central_source_free(struct central_source *c);
struct source *central_source(struct central_source *c);
/* The messages to the same central, under the same breaker. They end with the source. */
struct central_posts *central_source_posts(struct central_source *c);

/* Any thread. */
void central_source_places(const struct central_source *c, struct share_stats *out);
void central_source_state(struct central_source *c, struct central_state *out);
/* Central has told no settings yet, in this life or an earlier one, so what a name means is not known: why says so. */
bool central_source_lacks_settings(const struct central_source *c, char *why, size_t cap);

#endif
