/* Lists of what a store holds, through the daemon or without one. Thread: as the header says. */
#include "common/admin/store_alone.h"

#include "common/core/alloc.h"
#include "common/oci/resolve.h"
#include "common/oci/usual.h"
#include "common/admin/control_client.h"
#include "common/admin/image_facts.h"
#include "common/store/report.h"
#include "common/store/tag.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
    LIST_MAX = 100000,
    LOOKED_INTO_MAX = 5000, /* manifests are read for so many images of a list */
};

static const struct store_guard *central_guard;

void store_alone_set_guard(const struct store_guard *guard) {
    central_guard = guard;
}

int store_alone_as_owner(const char *data, struct error *err) {
    struct stat st;
    if (geteuid() != 0 || stat(data, &st) < 0 || st.st_uid == 0) return 0;
    if (setegid(st.st_gid) < 0 || seteuid(st.st_uid) < 0)
        return error_errno(err, "becoming user %u, whose the folder %s is", (unsigned)st.st_uid, data);
    return 0;
}

void store_alone_as_self(void) {
    if (getuid() != 0 || geteuid() == 0) return;
    int r = seteuid(0) < 0 || setegid(getgid()) < 0;
    (void)r; /* if this fails, the command goes on with fewer rights */
}

int store_alone_open(struct store_alone *a, const struct node_config *node, struct error *err) {
    memset(a, 0, sizeof(*a));
    char index[4200];
    snprintf(index, sizeof(index), "%.4000s/index.db", node->data);
    if (access(index, F_OK) < 0) {
        error_set(err, ERR_NOT_FOUND, "nothing is stored in %s yet", node->data);
        control_no_daemon_hint(node, err);
        return ERR_NOT_FOUND;
    }
    a->pool = workpool_new("work", 1);
    struct store_config cfg = {.dir = node->data,
                               .limit = node->store_limit,
                               .min_free = node->store_min_free,
                               .pool = a->pool,
                               .guard = node->kind == NODE_CENTRAL ? central_guard : NULL};
    int r = store_alone_as_owner(node->data, err);
    if (r == 0) r = store_open(&a->store, &cfg, err);
    if (r < 0) {
        store_alone_as_self();
        workpool_free(a->pool);
        a->pool = NULL;
        return r;
    }
    store_wait_reconciled(a->store);
    return 0;
}

void store_alone_close(struct store_alone *a) {
    if (a->store) store_close(a->store);
    if (a->pool) workpool_free(a->pool);
    store_alone_as_self();
}

static bool repo_visit(const char *repo, int64_t tags, int64_t manifests, int64_t bytes, void *arg) {
    json_t *list = arg;
    json_array_append_new(list, json_pack("{s:s,s:I,s:I,s:I}", "repository", repo, "tags", (json_int_t)tags,
                                          "manifests", (json_int_t)manifests, "size", (json_int_t)bytes));
    return json_array_size(list) < LIST_MAX;
}

struct tag_list {
    struct store *store;
    const char *repo;
    json_t *tags;
};

/* Tags whose image is not held are left out: they were pruned, and only their names are known still. */
static bool tag_visit(const char *tag, const struct tag_facts *rec, bool complete, void *arg) {
    const struct tag_list *list = arg;
    char digest[DIGEST_STR_MAX];
    struct image_facts f = {.held = -1, .whole = -1};
    if (!store_tag_is_held(list->store, list->repo, tag, &rec->digest)) return true;
    if (json_array_size(list->tags) < LOOKED_INTO_MAX) image_facts_find(list->store, &rec->digest, &f);
    json_array_append_new(list->tags,
                          json_pack("{s:s,s:s,s:I,s:I,s:o,s:I,s:I,s:s,s:I,s:b,s:b}", "tag", tag, "digest",
                                    digest_str(&rec->digest, digest), "size", (json_int_t)f.held, "whole_size",
                                    (json_int_t)f.whole, "platforms", f.platforms ? f.platforms : json_array(),
                                    "used_at", (json_int_t)f.used_at, "manifest_size", (json_int_t)rec->size,
                                    "media_type", rec->media_type, "checked_at", (json_int_t)rec->checked_at, "deleted",
                                    rec->deleted, "complete", complete));
    return json_array_size(list->tags) < LIST_MAX;
}

int store_list_json(struct store *s, const char *repo, json_t **out, struct error *err) {
    json_t *list = json_array();
    struct tag_list tags = {s, repo, list};
    int r = repo ? store_each_tag(s, repo, tag_visit, &tags, err) : store_each_held_repo(s, repo_visit, list, err);
    if (r < 0) {
        json_decref(list);
        return r;
    }
    bool cut = json_array_size(list) >= LIST_MAX;
    *out = json_object();
    if (repo) {
        json_t *name = json_string(repo);
        json_object_set_new(*out, "repository", name ? name : json_null());
    }
    json_object_set_new(*out, repo ? "tags" : "repositories", list);
    json_object_set_new(*out, "truncated", json_boolean(cut));
    return 0;
}

json_t *store_usage_json(const struct store *s) {
    struct store_usage u;
    store_usage(s, &u);
    const struct {
        const char *key;
        int64_t value;
    } numbers[] = {
        {"blobs", u.blobs},
        {"bytes", u.bytes},
        {"on_disk", u.on_disk},
        {"manifests", u.manifests},
        {"tags", u.tags},
        {"parts", u.parts},
        {"part_bytes", u.part_bytes},
        {"parts_on_disk", u.parts_on_disk},
        {"quarantined", u.quarantined},
        {"quarantine_bytes", u.quarantine_bytes},
        {"quarantine_on_disk", u.quarantine_on_disk},
        {"rotten", u.rotten},
        {"index_on_disk", u.index_on_disk},
        {"used_on_disk", u.used_on_disk},
        {"limit", u.limit},
        {"disk_free", u.disk_free},
        {"disk_total", u.disk_total},
        {"evictions", u.evictions},
        {"evicted_bytes", u.evicted_bytes},
    };
    json_t *o = json_object();
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        json_object_set_new(o, numbers[i].key, json_integer(numbers[i].value));
    return o;
}

/* 0: the daemon answered; 1: none runs. */
static int ask_daemon(const struct node_config *node, const char *path, json_t **out, struct error *err) {
    _cleanup_(control_closep) struct control *c = NULL;
    int r = control_open(&c, node, err);
    if (r == 0) r = control_json(c, "GET", path, out, err);
    return r == ERR_UNREACHABLE ? 1 : r;
}

/* The rules for names that are not canonical, if no daemon tells them. */
static bool usual_name(const char *given, char out[REPO_STR_MAX]) {
    static const char *const hub[] = {USUAL_HUB};
    const struct name_rules rules = {.upstreams = hub, .n_upstreams = 1, .default_upstream = hub[0]};
    struct repo_name repo;
    if (resolve_repo(&rules, NULL, given, strlen(given), &repo, NULL) < 0) return false;
    repo_name_str(&repo, out);
    return true;
}

int store_list(const struct node_config *node, const char *repo, json_t **out, struct error *err) {
    _cleanup_(freep) char *escaped = repo ? control_escape(repo) : NULL, *path = NULL;
    path = xasprintf("/api/ls%s%s", repo ? "?repo=" : "", repo ? escaped : "");
    int r = ask_daemon(node, path, out, err);
    if (r <= 0) return r;
    struct store_alone a;
    if ((r = store_alone_open(&a, node, err)) < 0) return r;
    r = store_list_json(a.store, repo, out, err);
    char name[REPO_STR_MAX];
    if (r == 0 && repo && json_array_size(json_object_get(*out, "tags")) == 0 && usual_name(repo, name)) {
        json_decref(*out);
        r = store_list_json(a.store, name, out, err);
    }
    store_alone_close(&a);
    return r;
}

int store_df(const struct node_config *node, json_t **out, struct error *err) {
    int r = ask_daemon(node, "/api/df", out, err);
    if (r <= 0) return r;
    struct store_alone a;
    if ((r = store_alone_open(&a, node, err)) < 0) return r;
    *out = store_usage_json(a.store);
    store_alone_close(&a);
    return 0;
}
