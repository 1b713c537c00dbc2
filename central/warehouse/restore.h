/* Record and store brought to agree: the store is told what is hosted, takes back what lies in its folder, and what is
 * not there is counted as missing ("to be restored"). Thread: as said at each function. */
#ifndef ENTREPOT_WAREHOUSE_RESTORE_H
#define ENTREPOT_WAREHOUSE_RESTORE_H

#include "central/warehouse/hosted.h"
#include "common/content/content.h"
#include "common/oci/resolve.h"

/* Control thread, before anybody is served: of everything recorded the store knows again flags, scopes, media type and
 * children, and tags are as the record says, by the door of all that is learned. Blocks; nothing is hashed, but a file
 * must have the size that is known. */
void hosted_tell_store(struct hosted *h, struct content *door, struct store *s, const struct name_rules *rules);

/* Any thread that may block. Is d hosted in repo ("": anywhere), and can its bytes be had? 0: they are held now, with
 * all the store must know of them. ERR_NOT_FOUND: it is not hosted there. Else its bytes are missing or cannot be read,
 * and err says so to a client. prove: a file that was not held is read and checked first; one that is wrong goes to
 * quarantine/. */
int hosted_restore(struct hosted *h, struct store *s, const char *repo, const struct digest *d, bool prove,
                   struct error *err) must_check;

struct hosted_missing {
    int64_t n, bytes;
};
/* Any thread: hosted blobs that are not held. fn (may be NULL) is called for each, and may not call the record. */
void hosted_each_missing(struct hosted *h, const struct store *s, void (*fn)(const struct digest *d, void *arg),
                         void *arg, struct hosted_missing *out);

#endif
