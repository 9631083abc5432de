// Calls to the designer. Every failure becomes an ApiError with a sentence for people.

export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

const TOKEN = 'fogflow-admin-token';

/** The admin token for routes that bring code, kept for this tab only. */
export const adminToken = {
  get: (): string => sessionStorage.getItem(TOKEN) ?? '',
  set: (token: string): void => sessionStorage.setItem(TOKEN, token.trim()),
};

async function call(method: string, path: string, body?: unknown): Promise<Response> {
  const headers: Record<string, string> = {};
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (method !== 'GET' && adminToken.get()) headers.Authorization = `Bearer ${adminToken.get()}`;
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(15_000),
    });
  } catch {
    throw new ApiError(0, 'The designer does not answer.');
  }
  if (!response.ok) throw new ApiError(response.status, await reason(response));
  return response;
}

async function reason(response: Response): Promise<string> {
  const text = await response.text().catch(() => '');
  try {
    const body = JSON.parse(text);
    if (typeof body.description === 'string') return body.description;
  } catch {
    // Not JSON: the text itself.
  }
  return text || `status ${response.status}`;
}

export async function getJson<T>(path: string): Promise<T> {
  return (await call('GET', path)).json() as Promise<T>;
}

export async function getText(path: string): Promise<string> {
  return (await call('GET', path)).text();
}

export async function send(method: 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<string> {
  return (await call(method, path, body)).text();
}
