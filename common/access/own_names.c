/* Collects this machine's names, and compares the header Host with them. Thread: as own_names.h says. */
#include "common/access/own_names.h"

#include "common/core/alloc.h"
#include "common/core/host_port.h"
#include "common/core/network.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

static void add(struct own_names *o, const char *text) {
    struct host_port hp;
    if (!text || !host_port_parse(&hp, text) || !hp.host[0]) return;
    o->names = xrealloc(o->names, o->n + 1, sizeof(*o->names));
    o->names[o->n++] = xstrdup(hp.host);
}

void own_names_init(struct own_names *o, const struct node_config *node) {
    char machine[HOST_PORT_HOST_MAX + 1] = "";
    *o = (struct own_names){0};
    if (gethostname(machine, sizeof(machine) - 1) == 0) add(o, machine);
    add(o, node->address);
    for (size_t i = 0; i < node->n_registry_names; i++)
        add(o, node->registry_names[i]);
    for (size_t i = 0; i < node->n_admin_names; i++)
        add(o, node->admin_names[i]);
}

void own_names_fini(struct own_names *o) {
    for (size_t i = 0; i < o->n; i++)
        free(o->names[i]);
    free(o->names);
}

bool own_names_have(const struct own_names *o, const char *host) {
    struct host_port hp;
    struct ip ip;
    if (!host) return true;
    if (!host_port_parse(&hp, host)) return false;
    size_t len = strlen(hp.host);
    if (len && hp.host[len - 1] == '.') hp.host[--len] = '\0'; /* an absolute name: "host.example." */
    if (hp.bracketed || ip_parse(&ip, hp.host, len) || strcasecmp(hp.host, "localhost") == 0) return true;
    for (size_t i = 0; i < o->n; i++)
        if (strcasecmp(hp.host, o->names[i]) == 0) return true;
    return false;
}
