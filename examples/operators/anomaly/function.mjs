// Finds measurements that are far from what was usual lately.
//
// For each numeric attribute of each entity it keeps a mean and a variance that forget slowly (weight 0.05 for the newest value). A
// value more than `threshold` standard deviations (operator parameter, 3 by default) from the mean is published as an `Anomaly`.

const threshold = Number(process.env.FOGFLOW_PARAM_threshold || 3);
const weight = 0.05;
const fewest = 20;
const seen = new Map();

export async function handler(entity, publish) {
  const station = entity.entityId.id;
  for (const [name, { value }] of Object.entries(entity.attributes)) {
    if (typeof value !== "number") continue;
    const key = JSON.stringify([station, name]);
    const { count, mean, variance } = seen.get(key) ?? { count: 0, mean: value, variance: 0 };
    const difference = value - mean;
    if (count >= fewest && variance > 0 && Math.abs(difference) > threshold * Math.sqrt(variance)) {
      await publish({
        attributes: {
          station: { type: "string", value: station },
          date: { type: "string", value: String(entity.attributes.date?.value ?? "") },
          attribute: { type: "string", value: name },
          value: { type: "float", value },
          usual: { type: "float", value: Number(mean.toFixed(2)) },
          deviations: { type: "float", value: Number((difference / Math.sqrt(variance)).toFixed(2)) },
        },
      });
    }
    seen.set(key, {
      count: count + 1,
      mean: mean + weight * difference,
      variance: (1 - weight) * (variance + weight * difference * difference),
    });
  }
}
