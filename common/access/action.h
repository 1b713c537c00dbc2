/* What a request to the registry API does, for access rules and for refusing what a node does not support. Thread:
 * any. */
#ifndef ENTREPOT_ACCESS_ACTION_H
#define ENTREPOT_ACCESS_ACTION_H

enum action {
    ACTION_NONE,    /* asks whether this is a registry */
    ACTION_PULL,    /* reads a repository */
    ACTION_PUSH,    /* adds to a repository, or reads the state of an upload */
    ACTION_DELETE,  /* deletes from a repository */
    ACTION_CATALOG, /* lists all repositories */
};

#endif
