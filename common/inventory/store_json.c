/* Lists, usage and reports of a store as JSON. Thread: as the header says. */
#include "common/inventory/store_json.h"

#include "common/inventory/image_facts.h"
#include "common/store/tag.h"

enum {
    LIST_MAX = 100000,
    LOOKED_INTO_MAX = 5000, /* manifests are read for so many images of a list */
};

static void put(json_t *o, const char *key, int64_t v) {
    json_object_set_new(o, key, json_integer(v));
}

static void put_s(json_t *o, const char *key, const char *v) {
    json_object_set_new(o, key, v ? json_string(v) : json_null());
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

json_t *prune_json(const struct prune_report *r, const struct store *s) {
    json_t *o = json_object();
    put(o, "freed", r->freed);
    put(o, "not_removed", r->not_removed);
    if (r->not_removed) put_s(o, "why_not_removed", r->why);
    json_object_set_new(o, "store", store_usage_json(s));
    return o;
}

json_t *verify_json(const struct verify_report *r, int64_t total_bytes) {
    json_t *named = json_array();
    for (int64_t i = 0; i < r->bad && i < VERIFY_NAMED_MAX; i++) {
        char digest[DIGEST_STR_MAX];
        json_array_append_new(named, json_string(digest_str(&r->named[i], digest)));
    }
    json_t *o = json_object();
    put(o, "checked", r->checked);
    put(o, "bytes", r->bytes);
    put(o, "bad", r->bad);
    put(o, "missing", r->missing);
    put(o, "adopted", r->adopted);
    put(o, "moved", r->moved);
    put(o, "not_moved", r->not_moved);
    put(o, "unreadable", r->unreadable);
    put(o, "total_bytes", total_bytes);
    if (r->not_moved) put_s(o, "why_not_moved", r->why_not_moved);
    if (r->unreadable) put_s(o, "why_unreadable", r->why_unreadable);
    json_object_set_new(o, "bad_blobs", named);
    return o;
}
