import type { GeoScope } from '../api/registry';

/** A scope in words. */
export function describe(scope: GeoScope): string {
  const value = scope.scopeValue as Record<string, number> & { vertices?: unknown[] };
  switch (scope.scopeType) {
    case 'circle':
      return `${value.radius} m around ${value.centerLatitude}, ${value.centerLongitude}`;
    case 'polygon':
      return `polygon of ${value.vertices?.length ?? 0} points`;
    case 'nearby':
      return `the ${value.limit} nearest to ${value.latitude}, ${value.longitude}`;
    case 'stringQuery':
      return String(scope.scopeValue);
    default:
      return 'everywhere';
  }
}

/** `latitude, longitude` per line as a polygon's vertices. */
export function parseVertices(text: string): { latitude: number; longitude: number }[] | undefined {
  const vertices = text
    .split('\n')
    .filter((line) => line.trim())
    .map((line) =>
      line
        .split(/[,;\s]+/)
        .filter(Boolean)
        .map(Number),
    )
    .map(([latitude = Number.NaN, longitude = Number.NaN]) => ({ latitude, longitude }));
  const valid = vertices.every(({ latitude, longitude }) => Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180);
  return valid && vertices.length >= 3 ? vertices : undefined;
}
