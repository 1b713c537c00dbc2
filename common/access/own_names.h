/* For which names the ports that are no registry answer: health, metrics and what nodes ask each other. A web page can
 * have its own name resolve to an address of this machine and then read what a browser here fetches from it ("DNS
 * rebinding"); only the name in Host tells such a request from others. Pure, but for asking for the machine's name.
 * Thread: control thread to make, any to ask. */
#ifndef ENTREPOT_ACCESS_OWN_NAMES_H
#define ENTREPOT_ACCESS_OWN_NAMES_H

#include "common/config/node_config.h"

struct own_names {
    char **names; /* hosts, without ports */
    size_t n;
};
/* The machine's name, and those that the configuration gives the node. */
void own_names_init(struct own_names *o, const struct node_config *node);
void own_names_fini(struct own_names *o);
/* host: as the header Host has it, NULL without one (no browser does that). Addresses and localhost are always ours. */
bool own_names_have(const struct own_names *o, const char *host);

#endif
