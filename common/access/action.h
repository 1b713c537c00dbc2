/* What a request of the registry API wants to do: what will be allowed or refused, and what is said when a node does
 * not do it at all. */
#ifndef ENTREPOT_ACCESS_ACTION_H
#define ENTREPOT_ACCESS_ACTION_H

enum action {
    ACTION_NONE,    /* asks whether there is a registry */
    ACTION_PULL,    /* reads a repository */
    ACTION_PUSH,    /* adds to a repository, or looks at what is being added */
    ACTION_DELETE,  /* takes from a repository */
    ACTION_CATALOG, /* lists all repositories */
};

#endif
