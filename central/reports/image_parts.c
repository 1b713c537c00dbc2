/* Reads a manifest's children, and for an index those of its manifests. Thread: see image_parts.h. */
#include "central/reports/image_parts.h"

#include "common/core/alloc.h"
#include "common/core/map.h"

#include <stdio.h>
#include <string.h>

#define CHILDREN_BYTES (16 * MiB) /* read of the catalogue for one image */

struct making {
    struct image_parts *parts;
    struct map *indexes; /* digest -> index of its blob and one */
    size_t cap;
};

/* The index of the blob, added if it is new; UINT32_MAX: there are too many. */
static uint32_t blob(struct making *m, const struct digest *d, int64_t size) {
    struct image_parts *p = m->parts;
    uint32_t had = (uint32_t)(uintptr_t)map_get(m->indexes, d, sizeof(*d));
    if (had) return had - 1;
    if (p->n == IMAGE_BLOBS_MAX) return UINT32_MAX;
    if (p->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 16;
        p->blobs = xrealloc(p->blobs, m->cap, sizeof(*p->blobs));
        p->sizes = xrealloc(p->sizes, m->cap, sizeof(*p->sizes));
    }
    p->blobs[p->n] = *d;
    p->sizes[p->n++] = size;
    map_set(m->indexes, d, sizeof(*d), (void *)(uintptr_t)p->n);
    return (uint32_t)p->n - 1;
}

static void put(struct image_platform *to, uint32_t index) {
    if (index != UINT32_MAX) to->blobs[to->n++] = index;
}

/* One platform: its manifest, and what that names. */
static void add_platform(struct making *m, const char *name, const struct catalog_fact *f, const struct digest *top) {
    struct image_parts *p = m->parts;
    struct image_platform *to = &p->platforms[p->n_platforms++];
    *to = (struct image_platform){.known = f->code == 0 && f->is_manifest};
    snprintf(to->name, sizeof(to->name), "%s", name);
    to->blobs = xcalloc(f->manifest.n_children + 2, sizeof(*to->blobs));
    put(to, blob(m, top, -1));
    if (!digest_eq(&f->digest, top)) put(to, blob(m, &f->digest, f->code == 0 ? f->size : -1));
    for (size_t i = 0; to->known && i < f->manifest.n_children; i++) {
        const struct manifest_child *c = &f->manifest.children[i];
        if ((c->kind == CHILD_CONFIG || c->kind == CHILD_LAYER) && !c->foreign) put(to, blob(m, &c->digest, c->size));
    }
}

static bool is_platform(const struct manifest_child *c) {
    return c->kind == CHILD_MANIFEST && strcmp(c->os, "unknown") != 0; /* attestations are none */
}

static void add_index(struct making *m, struct catalog *c, const struct catalog_fact *top) {
    struct catalog_fact *facts = xcalloc(IMAGE_PLATFORMS_MAX, sizeof(*facts));
    const struct manifest_child *of[IMAGE_PLATFORMS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < top->manifest.n_children && n < IMAGE_PLATFORMS_MAX; i++) {
        const struct manifest_child *child = &top->manifest.children[i];
        if (!is_platform(child)) continue;
        facts[n].digest = child->digest;
        of[n++] = child;
    }
    catalog_lookup(c, facts, n, CHILDREN_BYTES);
    for (size_t i = 0; i < n; i++) {
        char name[sizeof(m->parts->platforms->name)];
        snprintf(name, sizeof(name), "%s/%s%s%s", of[i]->os, of[i]->arch, of[i]->variant[0] ? "/" : "", of[i]->variant);
        add_platform(m, name, &facts[i], &top->digest);
        catalog_fact_fini(&facts[i]);
    }
    free(facts);
}

void image_parts_find(struct catalog *c, const struct digest *top, struct image_parts *out) {
    struct making m = {.parts = out, .indexes = map_new(NULL)};
    struct catalog_fact fact = {.digest = *top};
    *out = (struct image_parts){0};
    out->platforms = xcalloc(IMAGE_PLATFORMS_MAX, sizeof(*out->platforms));
    catalog_lookup(c, &fact, 1, CHILDREN_BYTES);
    blob(&m, top, fact.code == 0 ? fact.size : -1);
    if (fact.code == 0 && fact.is_manifest && fact.manifest.is_index)
        add_index(&m, c, &fact);
    else
        add_platform(&m, "", &fact, top);
    if (fact.code == 0 && !fact.is_manifest) out->platforms[0].known = true;
    catalog_fact_fini(&fact);
    map_free(m.indexes);
}

void image_parts_fini(struct image_parts *p) {
    for (size_t i = 0; i < p->n_platforms; i++)
        free(p->platforms[i].blobs);
    free(p->platforms);
    free(p->blobs);
    free(p->sizes);
    *p = (struct image_parts){0};
}
