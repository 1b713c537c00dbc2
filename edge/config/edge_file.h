/* Writes an edge's configuration file when it joins: an existing file keeps its keys and comments; `central` is set,
 * and `site` added if it is missing. Thread: main. */
#ifndef ENTREPOT_EDGE_CONFIG_EDGE_FILE_H
#define ENTREPOT_EDGE_CONFIG_EDGE_FILE_H

#include "common/core/error.h"

/* Whether the file could be written now. */
int edge_file_check(const char *path, struct error *err) must_check;
/* Writes the file and makes sure that it then says both. An existing one keeps its owner and mode. 1: nothing had to be
 * changed. ERR_INVALID: the file's form does not allow it; the error says what to add by hand. */
int edge_file_write(const char *path, const char *site, const char *central, struct error *err) must_check;

#endif
