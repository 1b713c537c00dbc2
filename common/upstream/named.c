/* A ring of the newest. Thread: the fetch loop. */
#include "common/upstream/named.h"

#include <stdio.h>
#include <string.h>

#include "common/core/alloc.h"

#define NAMED_MAX 64

struct named_one {
    char path[REPO_MAX + 1], tag[TAG_MAX + 1]; /* "": none */
    struct digest manifest;
};

struct named {
    struct named_one ring[NAMED_MAX];
    size_t next;
};

struct named *named_new(void) {
    return xcalloc(1, sizeof(struct named));
}

void named_free(struct named *n) {
    free(n);
}

void named_note(struct named *n, const char *path, const char *tag, const struct digest *manifest) {
    struct named_one *one = NULL;
    for (size_t i = 0; i < NAMED_MAX && !one; i++) {
        if (strcmp(n->ring[i].path, path) == 0 && strcmp(n->ring[i].tag, tag) == 0) one = &n->ring[i];
    }
    if (!one) {
        one = &n->ring[n->next];
        n->next = (n->next + 1) % NAMED_MAX;
    }
    snprintf(one->path, sizeof(one->path), "%s", path);
    snprintf(one->tag, sizeof(one->tag), "%s", tag);
    one->manifest = *manifest;
}

const char *named_tag(const struct named *n, const char *path, const struct digest *manifest) {
    for (size_t i = 0; i < NAMED_MAX; i++) {
        const struct named_one *one = &n->ring[i];
        if (one->tag[0] && strcmp(one->path, path) == 0 && digest_eq(&one->manifest, manifest)) return one->tag;
    }
    return NULL;
}
