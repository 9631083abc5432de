// A FogFlow function: called for each entity that its task is notified of.

/**
 * Publishes how many attributes the entity has.
 *
 * @param entity  {entityId: {id, type}, attributes: {name: {type, value}}, metadata: {...}}
 * @param publish publish({entityId: {...}, attributes: {...}}); without an id the declared output is meant
 */
export async function handler(entity, publish) {
  await publish({ attributes: { source: entity.entityId.id, count: Object.keys(entity.attributes).length } });
}
