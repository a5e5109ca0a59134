/** Reads List methods page by page. */

interface PageRequest {
  pageToken?: string;
}

interface PageResponse {
  nextPageToken: string;
}

/**
 * Yields the pages of a List method, from the request's page on:
 *
 *     for await (const page of pages(client.runs.listRuns, { pageSize: 50 })) ...
 */
export async function* pages<Request extends PageRequest, Response extends PageResponse>(
  list: (request: Request) => Promise<Response>,
  request: Request,
): AsyncGenerator<Response, void> {
  let page = request;
  for (;;) {
    const answer = await list(page);
    yield answer;
    if (!answer.nextPageToken) return;
    page = { ...page, pageToken: answer.nextPageToken };
  }
}
