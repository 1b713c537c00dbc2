/* The files that make a container engine pull through this node. Pure but for finding the node's
 * address. Thread: main or work pool. */
#ifndef ENTREPOT_ADMIN_ENGINE_FILES_H
#define ENTREPOT_ADMIN_ENGINE_FILES_H

#include <jansson.h>

#include "common/core/buf.h"
#include "common/core/error.h"
#include "common/config/node_config.h"

#define CLIENT_HOST_MAX 300

/* How clients reach a node, and for what. */
struct client_facts {
    char host[CLIENT_HOST_MAX]; /* "10.1.0.5:5050", "[2001:db8::5]:5050" */
    bool tls, loopback;
    const char *const *upstreams; /* names; borrowed */
    size_t n_upstreams;
    const char *default_upstream; /* what a bare name means; NULL: nothing */
    const char *ca;               /* PEM of the authority that signs its certificate; borrowed; NULL: not known here */
};

/* host, tls and loopback of a node: its address; else, with TLS, its first registry name; else the host it listens on;
 * else 127.0.0.1 if it listens on loopback; else this machine's primary address. Upstreams are left empty. */
void client_facts_find(struct client_facts *f, const struct node_config *node);
/* The same three as a running daemon's status (may be NULL) has them: what it was started with decides, not what a
 * command was given. Left as they are if it does not say. */
void client_facts_told(struct client_facts *f, const json_t *status);

/* The same three from what a person gives: "[http://|https://]HOST[:PORT]". Without a scheme it is f's, without a port
 * the scheme's, or without both the port of f. */
int client_facts_given(struct client_facts *f, const char *given, struct error *err) must_check;
/* "HOST:PORT" by which clients on this machine and others may name this node, as far as is known before it listens. The
 * array and its strings are the caller's. */
enum { OWN_ADDRESSES_MAX = 4 };
size_t client_own_addresses(const struct node_config *node, char *out[OWN_ADDRESSES_MAX]);

/* How an existing file is treated. */
enum client_file_form {
    CLIENT_FILE_OWN,       /* made by us alone: replaced */
    CLIENT_FILE_JSON,      /* others have keys in it, too: merged */
    CLIENT_FILE_CONTAINERD /* config.toml: written only where it has no settings yet */
};
struct client_file {
    char *path, *content, *note; /* note: how to apply it; never NULL, maybe "" */
    const char *then;            /* the command that makes the engine read it; NULL: none is needed */
    enum client_file_form form;
};
struct client_files {
    struct client_file items[160];
    size_t n;
    char *note; /* about all of them; maybe NULL */
};
/* ERR_NOT_FOUND: a kind that is not known; *err names those that are. ERR_UNSUPPORTED: the engine cannot be pointed at
 * such an address. */
int client_config_files(const char *kind, const struct client_facts *facts, struct client_files *out,
                        struct error *err) must_check;
void client_files_fini(struct client_files *f);
#define CLIENT_CONFIG_KINDS "docker, containerd, podman, cri-o, k3s"

/* The upstreams if no daemon can be asked. The names are borrowed, the array is the caller's. */
struct client_upstreams {
    const char *names[64];
    size_t n;
    const char *default_upstream;
};
/* The upstreams of a node that configures none. */
void client_default_upstreams(struct client_upstreams *out);

#endif
