/* From the top manifest down. Thread: work pool, or a command. */
#include "common/inventory/image_facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/core/json.h"
#include "common/core/map.h"
#include "common/oci/manifest.h"
#include "common/store/report.h"

enum { DEPTH_MAX = 3 };
#define CONFIG_MAX_BYTES (4 * 1024 * 1024) /* larger ones are not read for a platform */

struct look {
    struct store *store;
    struct map *seen; /* digests that are counted */
    struct image_facts *out;
};

static void add_platform(struct look *l, const char *os, const char *arch, const char *variant) {
    char text[100];
    const json_t *one;
    size_t i;
    if (!*os || !*arch || strcmp(os, "unknown") == 0) return; /* attestations name an unknown one */
    snprintf(text, sizeof(text), "%.31s/%.31s%s%.15s", os, arch, *variant ? "/" : "", variant);
    json_array_foreach(l->out->platforms, i, one) {
        if (strcmp(json_string_value(one), text) == 0) return;
    }
    json_t *name = json_string(text);
    if (name) json_array_append_new(l->out->platforms, name);
}

/* True if it is held. size: as its parent promised; -1: unknown. */
static bool count(struct look *l, const struct digest *d, int64_t size) {
    struct blob_info info;
    bool held = store_lookup(l->store, d, &info);
    if (map_get(l->seen, d, sizeof(*d))) return held;
    map_set(l->seen, d, sizeof(*d), l);
    if (held) {
        int64_t used = store_used_at(l->store, d);
        l->out->held += info.size;
        if (used > l->out->used_at) l->out->used_at = used;
        size = info.size;
    }
    if (size > 0 && __builtin_add_overflow(l->out->whole, size, &l->out->whole)) l->out->whole = INT64_MAX;
    return held;
}

static void config_platform(struct look *l, const struct digest *d) {
    char *data;
    size_t len;
    if (store_peek_blob(l->store, d, CONFIG_MAX_BYTES, &data, &len) < 0) return;
    struct json_doc doc;
    if (json_open(&doc, data, len, 0) == 0) {
        const json_t *c = doc.root;
        add_platform(l, json_text(c, "os", ""), json_text(c, "architecture", ""), json_text(c, "variant", ""));
    }
    json_close(&doc);
    free(data);
}

/* platform: the index has said which this is. */
static void look_into(struct look *l, const struct digest *d, bool platform, int depth) {
    char *data;
    size_t len;
    if (depth > DEPTH_MAX || store_peek_blob(l->store, d, MANIFEST_MAX_BYTES, &data, &len) < 0) return;
    struct manifest m = {0};
    int r = manifest_parse(&m, data, len, NULL);
    free(data);
    for (size_t i = 0; r == 0 && i < m.n_children; i++) {
        const struct manifest_child *c = &m.children[i];
        if (c->kind == CHILD_SUBJECT || c->foreign) continue;
        bool seen = map_get(l->seen, &c->digest, sizeof(c->digest)) != NULL;
        /* Only held children of an index count, because clients rarely pull all of its platforms. */
        struct blob_info info;
        if (c->kind == CHILD_MANIFEST && !store_lookup(l->store, &c->digest, &info)) continue;
        bool held = count(l, &c->digest, c->size);
        if (c->kind == CHILD_MANIFEST) add_platform(l, c->os, c->arch, c->variant);
        if (c->kind == CHILD_MANIFEST && !seen) look_into(l, &c->digest, c->os[0] != '\0', depth + 1);
        if (c->kind == CHILD_CONFIG && held && !platform) config_platform(l, &c->digest);
    }
    manifest_fini(&m);
}

void image_facts_find(struct store *s, const struct digest *top, struct image_facts *out) {
    *out = (struct image_facts){.platforms = json_array()};
    struct look l = {.store = s, .seen = map_new(NULL), .out = out};
    if (count(&l, top, -1)) look_into(&l, top, false, 0);
    map_free(l.seen);
}
