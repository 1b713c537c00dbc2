/* The blobs on disk as a part of a node: opened first, closed last. Thread: as node_part.h says of each function. */
#include "common/node/store_part.h"

#include "common/core/alloc.h"
#include "common/core/log.h"
#include "common/inventory/store_json.h"
#include "common/oci/manifest.h"
#include "common/store/report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int inspect_manifest(const void *data, size_t len, char media_type[256], struct digest **children, size_t *n) {
    struct manifest m;
    int r = manifest_parse(&m, data, len, NULL);
    if (r == 0 && !m.media_type[0]) r = ERR_INVALID;
    if (r == 0) {
        snprintf(media_type, 256, "%s", m.media_type);
        *children = xcalloc(m.n_children + 1, sizeof(**children));
        for (size_t i = 0; i < m.n_children; i++)
            (*children)[i] = m.children[i].digest;
        *n = m.n_children;
    }
    manifest_fini(&m);
    return r;
}

/* Index writer. */
static void on_change(const struct digest *d, bool held, void *arg) {
    const struct node *n = arg;
    content_held(n->content, d, held);
}

/* When root makes the folders above the data folder, all users may enter them: this machine's service, which is not
 * root, has its own data folder below them. Folders that a user makes stay private, as do the data folders
 * themselves. */
static int make_parents(const char *data, struct error *err) {
    char part[4096];
    size_t len = strlen(data);
    if (geteuid() != 0 || len >= sizeof(part)) return 0;
    memcpy(part, data, len + 1);
    for (char *slash = strchr(part + 1, '/'); slash && slash[1]; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0700) == 0 && chmod(part, 0755) < 0) return error_errno(err, "making folder %s", part);
        *slash = '/';
    }
    return 0; /* a folder that could not be made is an error when the last one is made */
}

/* Warns that blobs cannot be kept: they are passed through, and clients do not notice. */
static void warn_of_no_room(const struct node *n) {
    struct store_usage u;
    store_usage(n->store, &u);
    if (u.limit > 0) return;
    log_warn(
        "nothing_can_be_kept", KV_S("data", n->config->data), KV_I("disk_free", u.disk_free),
        KV_I("disk_total", u.disk_total), KV_I("min_free", n->config->store_min_free),
        KV_S("why", "the file system has no more space than store.min_free: pulls are passed through and not kept"));
}

static int start(struct node *n, void **self, struct error *err) {
    struct store_config sc = {
        .dir = n->config->data,
        .limit = n->config->store_limit,
        .min_free = n->config->store_min_free,
        .tags_max = n->config->store_tags,
        .pool = n->pool,
        .on_change = on_change,
        .inspect = inspect_manifest,
        .guard = n->guard,
        .arg = n,
    };
    int r = make_parents(n->config->data, err);
    n->content = content_new();
    if (r == 0) r = store_open(&n->store, &sc, err);
    if ((r == -EACCES || r == -EROFS || r == -EPERM || r == -ENOTDIR) && !err->hint[0]) {
        error_hint(err, "the data folder must be one that this user may write: the key data, or --set data=FOLDER%s",
                   getenv("INVOCATION_ID") ? "; under systemd also ReadWritePaths=FOLDER in a drop-in" : "");
    }
    if (r < 0) {
        content_free(n->content);
        n->content = NULL;
        return r;
    }
    content_set_store(n->content, n->store);
    warn_of_no_room(n);
    struct store_part *p = xcalloc(1, sizeof(*p));
    p->node = n;
    *self = p;
    return 0;
}

static void ending(void *self) {
    struct store_part *p = self;
    atomic_store(&p->ending, true);
    store_stop_bulk(p->node->store);
}

static void stop(void *self) {
    struct store_part *p = self;
    struct node *n = p->node;
    store_close(n->store);
    n->store = NULL;
    content_free(n->content);
    n->content = NULL;
    free(p);
}

static void status(json_t *into, void *self) {
    struct store *s = ((struct store_part *)self)->node->store;
    store_quarantine_look(s);
    json_t *o = store_usage_json(s);
    struct error err = {0};
    json_object_set_new(into, "store", o);
    if (!store_trouble(s, &err)) return;
    json_object_set_new(o, "trouble", json_pack("{s:s,s:s}", "message", err.msg, "what_to_do", err.hint));
}

/* A node with damaged blobs is still ready, because damaged blobs are no longer served. */
static void ready(json_t *into, void *self) {
    struct store_usage u;
    store_usage(((struct store_part *)self)->node->store, &u);
    json_object_set_new(into, "rotten", json_integer(u.rotten));
    json_object_set_new(into, "quarantined", json_integer(u.quarantined));
}

static void metrics(struct metric_page *page, void *self) {
    struct store_usage u;
    store_usage(((struct store_part *)self)->node->store, &u);
    metric_set(page, METRIC_HELD_BLOBS, (double)u.blobs);
    metric_set(page, METRIC_HELD_BYTES, (double)u.bytes);
    metric_set(page, METRIC_STORE_ON_DISK, (double)u.used_on_disk);
    metric_set(page, METRIC_TAGS, (double)u.tags);
    metric_set(page, METRIC_PART_BYTES, (double)u.part_bytes);
    metric_set(page, METRIC_STORE_LIMIT, (double)u.limit);
    metric_set(page, METRIC_DISK_FREE, (double)u.disk_free);
    metric_set(page, METRIC_EVICTIONS, (double)u.evictions);
    metric_set(page, METRIC_EVICTED_BYTES, (double)u.evicted_bytes);
}

const struct node_part part_store = {.name = "store",
                                     .start = start,
                                     .ending = ending,
                                     .stop = stop,
                                     .routes = store_routes,
                                     .status = status,
                                     .ready = ready,
                                     .metrics = metrics};
