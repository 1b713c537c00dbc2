/* The state of the members part, for its own files. Thread: control, unless a function says otherwise. */
#ifndef ENTREPOT_FLEET_MEMBERS_H
#define ENTREPOT_FLEET_MEMBERS_H

#include <pthread.h>
#include <stdatomic.h>

#include "central/config/central_config.h"
#include "central/fleet/door.h"
#include "central/fleet/fleet_state.h"
#include "central/fleet/issue.h"
#include "common/identity/join_token.h"
#include "common/core/offload.h"
#include "common/node/node_part.h"

struct members {
    struct node *node;
    const struct central_config *cfg;
    struct ca *ca;
    struct roster *roster;
    struct tls_server *tls;
    struct cert_names *names;        /* of certificates for registry ports */
    struct tls_server *registry_tls; /* of central's own, where registry.tls is fleet; else NULL */
    struct door door;
    struct issue issue;
    struct timer renew; /* of central's own certificate */
    struct fleet_state *state;
    struct timer rotation; /* while a new root spreads or the old one retires */
    struct offload work;   /* makes the state anew; takes steps */
    bool working, again;   /* control loop */
    atomic_bool told;      /* set by work: the state has changed */
    atomic_bool reload;    /* set by work: the roots have changed, so central's own certificate is made anew */
    pthread_mutex_t lock;  /* guards addresses */
    char **addresses;      /* HOST:PORT, of the configuration */
    size_t n_addresses;
    void (*changed)(void *arg); /* the state has another version; control loop. NULL: nobody is told */
    void *changed_arg;
    void (*shown)(const char *name, json_t *edge, void *arg); /* members_on_edge_shown. NULL: nobody adds to it */
    void *shown_arg;
};

/* Any thread. Call it when the state may have changed, or the next step of a rotation may be due. */
void members_look(struct members *m);
/* A copy of the addresses, and how many. The caller frees it with members_free_addresses. */
char **members_addresses(struct members *m, size_t *n);
void members_free_addresses(char **list, size_t n);
/* Writes into a token the addresses at which edges reach this central. */
int members_token_addresses(struct members *m, struct join_token *t, struct error *err) must_check;
/* A number that stands for a signer (roster_config.signer). */
uint64_t members_signer_mark(X509 *signer);

/* Routes of the control socket; handlers get struct members. */
extern const struct route members_routes[];
/* Work pool. */
json_t *members_edges_json(struct members *m);
json_t *members_ca_json(const struct members *m);

#endif
