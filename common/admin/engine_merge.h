/* Merges our settings into an existing file of an engine; pure text in, text out. Nothing that others have written is
 * dropped. If that is not certain, the merge is refused, with the lines to add by hand. Thread: any. */
#ifndef ENTREPOT_ADMIN_ENGINE_MERGE_H
#define ENTREPOT_ADMIN_ENGINE_MERGE_H

#include "common/admin/engine_files.h"

struct engine_merge {
    char *after; /* the whole file as it should be; NULL: nothing is to be changed, or see add */
    char *add;   /* refused: what to add by hand */
};
/* old: what the file holds, NULL if there is none. 0, or ERR_UNSUPPORTED with *err saying why it is refused and add
 * filled. */
int engine_merge(const struct client_file *wanted, const char *old, struct engine_merge *out,
                 struct error *err) must_check;
void engine_merge_fini(struct engine_merge *m);

/* The first line of files that are made by us alone. A file with it may be replaced. */
#define ENGINE_FILE_MARK "# Made by Entrepot's `client-config --write`, which replaces it when it is run again.\n"

#endif
