/* Central as a source, with the upstreams themselves behind it (fallback: upstream). Each request goes to central. If
 * that cannot be reached, for longer than a restart takes, the request goes to the upstream of its repository, at the
 * endpoints that central last told, without an account. What is hosted has no upstream and is never asked for there.
 *
 * An upstream that says "no such tag" for a tag that is known here is not believed, because central may know better:
 * the request then ends as if nobody had been asked. What upstreams said of tags counts as stale once central is back.
 *
 * Thread: the fetch loop, but for what is marked. */
#ifndef ENTREPOT_EDGE_PULL_FALLBACK_H
#define ENTREPOT_EDGE_PULL_FALLBACK_H

#include "common/source/source.h"
#include "common/upstream/upstream.h"
#include "edge/link/settings.h"

struct fallback;

/* All pointers are borrowed. */
struct fallback_config {
    struct source *central;
    const struct settings *settings;
    struct loop *loop;
    struct http_client *client;
    unsigned queue_of_one, queue; /* as in struct upstream_limits */
    struct upstream_held held;
    /* Central cannot be reached, and is not waited for. Any thread. */
    bool (*gone)(void *arg);
    /* This tag can be answered from what is held. */
    bool (*knows)(const struct repo_name *repo, const char *tag, void *arg);
    /* Whatever the settings say, this name is known to be one that central hosts. */
    bool (*hosted)(const struct repo_name *repo, const char *tag, void *arg);
    void *arg;
};

struct fallback *fallback_new(const struct fallback_config *cfg);
/* Ends running requests without callbacks. Before central's source is freed. */
void fallback_free(struct fallback *f);
struct source *fallback_source(struct fallback *f);
/* Central is back. */
void fallback_over(struct fallback *f);

/* Any thread. How long a tag is fresh, of what is fresh so long at central, ms. */
int64_t fallback_fresh_ms(const struct fallback *f, int64_t fresh_ms);

struct fallback_state {
    bool active;                /* central is gone, so upstreams are asked */
    int64_t requests, failures; /* to upstreams, since the start; "not found" is no failure */
};
/* Any thread. */
void fallback_state(const struct fallback *f, struct fallback_state *out);
/* Any thread. Calls fn for each upstream that was asked since the start and whose endpoints are still as they were. */
void fallback_each(const struct fallback *f, void (*fn)(struct upstream *u, void *arg), void *arg);

#endif
