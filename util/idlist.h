/*
 * Objects that users name, each by an id of its own in its list; in the order of their making.
 *
 * The node is first in the object. A list and its objects belong to one thread or lock.
 */
#ifndef TINAMOU_UTIL_IDLIST_H
#define TINAMOU_UTIL_IDLIST_H

#include <stddef.h>

enum { IDLIST_MAX = 127 }; /* bytes of an id, without its NUL */

struct idlist_node {
    char *id; /* of the object's, by malloc(): whoever frees that frees it */
    struct idlist_node *next;
};

/* Zeroed is empty. */
struct idlist {
    struct idlist_node *first;
};

/* The object of that id, or the nth from 0 on; NULL if there is none. */
void *idlist_find(const struct idlist *list, const char *id);
void *idlist_at(const struct idlist *list, unsigned n);

/*
 * Gives an object that is to be added a copy of its id: a letter, then letters, digits, '-', '.' or
 * '_'; what is made up for the user begins with '#'. 0; or -EINVAL, -EEXIST, -ENOMEM with a line in
 * error[], which begins with `who`.
 */
int idlist_name(const struct idlist *list, struct idlist_node *node, const char *id,
                const char *who, char *error, size_t error_size);

/* At the end; an object that is in none. */
void idlist_add(struct idlist *list, struct idlist_node *node);
/* One that is in it. */
void idlist_remove(struct idlist *list, struct idlist_node *node);

#endif
