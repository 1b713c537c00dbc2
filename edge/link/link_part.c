/* Keeps central's settings for the other parts. Thread: as part.h says of each function. */
#include "edge/link/link_part.h"

static int start(struct node *n, void **self, struct error *err) {
    (void)err;
    const struct settings_own own = {n->config->registry_names, n->addresses, n->config->n_registry_names,
                                     n->n_addresses};
    *self = settings_new(n->config->data, &own);
    return 0;
}

static void stop(void *self) {
    settings_free(self);
}

static void status(json_t *into, void *self) {
    const struct name_rules *r = settings_rules(self);
    json_t *list = json_array();
    for (size_t i = 0; i < r->n_upstreams; i++)
        json_array_append_new(list, json_pack("{s:s}", "name", r->upstreams[i]));
    json_object_set_new(into, "upstreams", list);
    json_object_set_new(into, "default_upstream", r->default_upstream ? json_string(r->default_upstream) : json_null());
}

const struct node_part part_link = {.name = "link", .start = start, .stop = stop, .status = status};

struct settings *settings_of(const struct node *n) {
    return node_part(n, &part_link);
}
