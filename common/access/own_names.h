/* The host names that the admin and fleet ports answer for. Without this check a web page could let its own name
 * resolve to this machine and read what a browser here gets from these ports ("DNS rebinding"); only the header Host
 * shows that. Reads the machine's name, else pure. Thread: control thread to make, any to ask. */
#ifndef ENTREPOT_ACCESS_OWN_NAMES_H
#define ENTREPOT_ACCESS_OWN_NAMES_H

#include "common/config/node_config.h"

struct own_names {
    char **names; /* hosts, without ports */
    size_t n;
};
/* Fills it with the machine's name and the names in the configuration. own_names_fini frees it. */
void own_names_init(struct own_names *o, const struct node_config *node);
void own_names_fini(struct own_names *o);
/* True if the value of the header Host is one of them, an address or localhost. host NULL: no such header, which no
 * browser omits. */
bool own_names_have(const struct own_names *o, const char *host);

#endif
