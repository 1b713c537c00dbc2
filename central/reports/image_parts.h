/* What an image consists of, by the catalogue: the blobs of each of its platforms. Thread: one that may block on the
 * disk. */
#ifndef ENTREPOT_CENTRAL_REPORTS_IMAGE_PARTS_H
#define ENTREPOT_CENTRAL_REPORTS_IMAGE_PARTS_H

#include "central/catalog/catalog.h"

#define IMAGE_PLATFORMS_MAX 256
#define IMAGE_BLOBS_MAX 16384

struct image_platform {
    char name[84];   /* "linux/arm/v7"; "" if the image has no index */
    uint32_t *blobs; /* its manifest, configuration and layers, as indexes of image_parts.blobs */
    size_t n;
    bool known; /* the catalogue has its manifest */
};
struct image_parts {
    struct digest *blobs; /* each once; the first is the image's own digest */
    int64_t *sizes;       /* -1: not known */
    size_t n;
    struct image_platform *platforms;
    size_t n_platforms;
};
/* A digest that is no manifest, or that the catalogue does not know, consists of itself. What is beyond the bounds above
 * is left out. */
void image_parts_find(struct catalog *c, const struct digest *top, struct image_parts *out);
void image_parts_fini(struct image_parts *p);

#endif
