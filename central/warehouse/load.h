/* Brings an image from an OCI image layout on this machine into a hosted repository (image-spec image-layout.md).
 * Thread: work pool. */
#ifndef ENTREPOT_WAREHOUSE_LOAD_H
#define ENTREPOT_WAREHOUSE_LOAD_H

#include <jansson.h>

#include "central/warehouse/hosted.h"
#include "common/content/content.h"
#include "common/oci/resolve.h"
#include "common/store/store.h"

struct load_target {
    struct store *store;
    struct hosted *record;
    struct content *content; /* through which record, store and listeners learn of it */
    const struct name_rules *rules;
};

/* Loads an image. layout: the absolute path of a folder with oci-layout, index.json and blobs/. folder: that folder,
 * opened by who asks, who may reach it where this process may not; -1: it is opened here. ref: "repo:tag"; the
 * repository must be hosted. Every blob's digest and size are checked. Nothing is hosted or tagged unless everything is
 * in the store; then it is safe from a power cut. *result: {"repository","tag","digest","blobs","bytes"}, a new
 * reference. */
int load_image(const struct load_target *t, const char *layout, int folder, const char *ref, json_t **result,
               struct error *err) must_check;

#endif
