/* The header by which a node says which settings it has decided names under: a request between nodes carries it, and
 * who goes by others refuses with 409 and its own. Thread: any. */
#ifndef ENTREPOT_HTTP_SETTINGS_HEADER_H
#define ENTREPOT_HTTP_SETTINGS_HEADER_H

#include "common/core/base.h"

#define SETTINGS_HEADER "Entrepot-Settings"
#define SETTINGS_REFUSED 409

/* 16 hexadecimal digits. Returns out. */
char *settings_header_format(uint64_t version, char out[17]);
/* 0, which is no version, when value is NULL or nothing of the kind. */
uint64_t settings_header_parse(const char *value);

#endif
