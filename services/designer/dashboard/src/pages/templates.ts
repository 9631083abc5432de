/** What a new function begins with. */
export const templates: Record<string, string> = {
  python: `def handleEntity(entity, publish):
    """Called for each new state of an input entity. What is published becomes a result entity."""
    numbers = {
        name: item["value"]
        for name, item in entity["attributes"].items()
        if isinstance(item["value"], (int, float))
    }
    if not numbers:
        return
    highest = max(numbers, key=numbers.get)
    publish({"attributes": {
        "source": entity["entityId"]["id"],
        "highest": highest,
        "value": numbers[highest],
    }})
`,
  javascript: `// Called for each new state of an input entity. What is published becomes a result entity.
export async function handler(entity, publish) {
  const numbers = Object.entries(entity.attributes)
    .filter(([, item]) => typeof item.value === 'number')
    .map(([name, item]) => [name, item.value]);
  if (numbers.length === 0) return;
  const [highest, value] = numbers.reduce((a, b) => (b[1] > a[1] ? b : a));
  await publish({ attributes: { source: entity.entityId.id, highest, value } });
}
`,
};
