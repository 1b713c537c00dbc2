/* Makes record and store agree. The store is told what is hosted and takes back files that are in its folder. Blobs
 * without a file are counted as missing ("to be restored"). Thread: as each function says. */
#ifndef ENTREPOT_HOSTED_RESTORE_H
#define ENTREPOT_HOSTED_RESTORE_H

#include "central/warehouse/hosted.h"
#include "common/content/content.h"
#include "common/oci/resolve.h"

/* Control thread, before anybody is served. Tells the store flags, scopes, media types and children of everything
 * recorded, and sets the tags as the record has them, through content.h. Blocks. Nothing is hashed, but a file must
 * have the recorded size. */
void hosted_tell_store(struct hosted *h, struct content *door, struct store *s, const struct name_rules *rules);

/* Any thread that may block. Finds out whether d is hosted in repo ("": anywhere) and makes it readable. 0: its bytes
 * are held now, and the store knows all about it. ERR_NOT_FOUND: it is not hosted there. Else its bytes are missing or
 * unreadable, and err has a message for the client. prove: a file that was not held is hashed first, and goes to
 * quarantine/ if it is wrong. */
int hosted_restore(struct hosted *h, struct store *s, const char *repo, const struct digest *d, bool prove,
                   struct error *err) must_check;

struct hosted_missing {
    int64_t n, bytes;
};
/* Any thread. Calls fn (may be NULL) for each hosted blob that is not held. fn must not call the record. */
void hosted_each_missing(struct hosted *h, const struct store *s, void (*fn)(const struct digest *d, void *arg),
                         void *arg, struct hosted_missing *out);

#endif
