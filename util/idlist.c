#include "util/idlist.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *idlist_find(const struct idlist *list, const char *id)
{
    struct idlist_node *node = list->first;

    while (node && strcmp(node->id, id) != 0) {
        node = node->next;
    }
    return node;
}

void *idlist_at(const struct idlist *list, unsigned n)
{
    struct idlist_node *node = list->first;

    for (; node && n; n--) {
        node = node->next;
    }
    return node;
}

static bool is_id(const char *id)
{
    size_t length = strlen(id);

    id += *id == '#';
    if (length > IDLIST_MAX || !isalpha((unsigned char)*id)) {
        return false;
    }
    for (; *id; id++) {
        if (!isalnum((unsigned char)*id) && !strchr("-._", *id)) {
            return false;
        }
    }
    return true;
}

int idlist_name(const struct idlist *list, struct idlist_node *node, const char *id,
                const char *who, char *error, size_t error_size)
{
    if (!is_id(id)) {
        snprintf(error, error_size,
                 "%s: id=%s: expected a letter, then letters, digits, '-', '.' or '_'", who, id);
        return -EINVAL;
    }
    if (idlist_find(list, id)) {
        snprintf(error, error_size, "%s: id=%s: there is one with this id already", who, id);
        return -EEXIST;
    }
    node->id = strdup(id);
    if (!node->id) {
        snprintf(error, error_size, "%s: no memory", who);
        return -ENOMEM;
    }
    return 0;
}

void idlist_add(struct idlist *list, struct idlist_node *node)
{
    struct idlist_node **link = &list->first;

    while (*link) {
        link = &(*link)->next;
    }
    node->next = NULL;
    *link = node;
}

void idlist_remove(struct idlist *list, struct idlist_node *node)
{
    struct idlist_node **link = &list->first;

    while (*link != node) {
        link = &(*link)->next;
    }
    *link = node->next;
}
