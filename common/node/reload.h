/* What a running node reads again: the certificate of its registry port, every few seconds and on SIGHUP, and on SIGHUP
 * what its parts take from a changed configuration file. The rest of it is read at the start only; the log says so.
 * Thread: control. */
#ifndef ENTREPOT_NODE_RELOAD_H
#define ENTREPOT_NODE_RELOAD_H

#include "common/config/node_config.h"
#include "common/core/loop.h"
#include "common/http/tls.h"

struct reload;
/* Call at the start: remembers the state of the configuration file. */
struct reload *reload_new(const struct node_config *node, struct loop *control);
/* Watches a certificate from now on. tls is borrowed until reload_free; NULL: there is none. */
void reload_watch(struct reload *r, struct tls_server *tls);
/* fn is called when the configuration file has changed since it was taken last. It writes what it took from it, in
 * words, to the cap bytes at words, which are empty before. False: the file is not valid; fn has logged why. */
void reload_on_change(struct reload *r, bool (*fn)(char *words, size_t cap, void *arg), void *arg);
/* Call on SIGHUP: logs what was read again, and what was not although it has changed. */
void reload_now(struct reload *r);
void reload_free(struct reload *r);

#endif
