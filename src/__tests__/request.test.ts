import { describe, expect, it } from 'vitest';

import { AIOSClient, ProblemError, asProblem, problemOf } from '../request';
import { answering, json, settings, slice } from './samples';

const TOO_LARGE = {
  message: '9 workers were asked for; the cluster has room for 4.',
  reason: 'too_large',
  hint: 'Ask for at most 4.'
};

async function failure(promise: Promise<unknown>): Promise<ProblemError> {
  return promise.then(
    () => {
      throw new Error('It did not fail.');
    },
    (error: unknown) => error as ProblemError
  );
}

describe('problemOf', () => {
  it("takes the server's own words", () => {
    expect(problemOf(409, { ...TOO_LARGE, extra: 1 }, 'slices/s-1')).toEqual(TOO_LARGE);
  });

  it('knows a server without the extension by its 404 on status', () => {
    expect(problemOf(404, { message: 'Not Found' }, 'status').message).toContain(
      "The server extension isn't enabled:"
    );
    expect(problemOf(404, undefined, 'runs/r-1').reason).toBe('unexpected');
  });

  it.each([
    [401, 'forbidden'],
    [403, 'forbidden'],
    [502, 'unreachable'],
    [503, 'unreachable'],
    [500, 'unexpected']
  ])('has a problem for a bare %i', (status, reason) => {
    const problem = problemOf(status, undefined, 'runs');
    expect(problem.reason).toBe(reason);
    expect(problem.hint).not.toBe('');
  });

  it('hands on the message of a foreign body', () => {
    expect(problemOf(500, { message: 'disk full' }, 'models').message).toContain('disk full');
  });
});

describe('AIOSClient', () => {
  it('calls below the base URL with method, body and escaped names', async () => {
    const { fetch, asked } = answering(json(slice()), json(slice()), json({}));
    const client = new AIOSClient(settings({ fetch }));
    await client.resize('s/1', { workers: 2 });
    await client.release('s-1');
    await client.compress('a model', 3, { method: 'low_rank', energy: 0.9 });
    expect(asked.map(({ method, url }) => `${method} ${url.split('?')[0]}`)).toEqual([
      'PATCH http://lab.test/user/ada/aios/api/slices/s%2F1',
      'DELETE http://lab.test/user/ada/aios/api/slices/s-1',
      'POST http://lab.test/user/ada/aios/api/models/a%20model/versions/3/compress'
    ]);
    expect(await asked[0].json()).toEqual({ workers: 2 });
  });

  it('asks to kill only when told to', async () => {
    const { fetch, asked } = answering(json({}), json({}));
    const client = new AIOSClient(settings({ fetch }));
    await client.stop('r-1', false);
    await client.stop('r-1', true);
    expect(asked.map(({ url }) => new URL(url).searchParams.get('kill'))).toEqual(['0', '1']);
  });

  it('rejects with the problem and the status of a refusal', async () => {
    const { fetch } = answering(json(TOO_LARGE, 422));
    const error = await failure(new AIOSClient(settings({ fetch })).resize('s-1', { workers: 9 }));
    expect(error).toBeInstanceOf(ProblemError);
    expect(error.status).toBe(422);
    expect(error.problem).toEqual(TOO_LARGE);
  });

  it('says that the server does not answer when the network fails', async () => {
    const { fetch } = answering(new TypeError('fetch failed'));
    const error = await failure(new AIOSClient(settings({ fetch })).status());
    expect(error.status).toBe(0);
    expect(asProblem(error).reason).toBe('unreachable');
  });

  it("survives a proxy's page instead of JSON", async () => {
    const { fetch } = answering(new Response('<html>Bad gateway</html>', { status: 502 }));
    const error = await failure(new AIOSClient(settings({ fetch })).runs());
    expect(error.problem.reason).toBe('unreachable');
  });
});

describe('asProblem', () => {
  it('makes a problem of anything thrown', () => {
    expect(asProblem(new Error('odd')).message).toBe('odd');
    expect(asProblem('odd').message).toBe('odd');
  });
});
