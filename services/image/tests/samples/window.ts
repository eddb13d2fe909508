import sharp, { type Sharp } from 'sharp';

const stages = [
  ['accepted', 'gateway', 0, 4],
  ['queued', 'gateway', 4, 3],
  ['received', 'image', 7, 2],
  ['source read', 'image', 9, 11],
  ['converted', 'image', 20, 46],
  ['stored', 'image', 66, 14],
  ['succeeded', 'gateway', 80, 5],
  ['called back', 'client', 85, 6],
] as const;
const colours: Record<string, string> = { gateway: '#5b8def', image: '#f0a04b', client: '#4fb286' };

/** An application window as a desktop's screenshot tool cuts it out: rounded corners and a shadow on nothing. */
export function drawWindow(width: number, height: number): Sharp {
  const [left, top, right, bottom] = [56, 44, width - 56, height - 68];
  const w = right - left;
  const rows = stages.map(([name, service, from, length], index) => {
    const y = top + 196 + index * 46;
    const x = left + 300 + ((w - 400) * from) / 100;
    const bar = Math.max(8, ((w - 400) * length) / 100);
    return `<text x="${left + 48}" y="${y + 6}" fill="#2b3242" font-size="19">${name}</text>
      <text x="${left + 190}" y="${y + 6}" fill="#8a93a6" font-size="16">${service}</text>
      <rect x="${left + 300}" y="${y - 9}" width="${w - 380}" height="18" rx="9" fill="#f0f2f7"/>
      <rect x="${x}" y="${y - 9}" width="${bar}" height="18" rx="9" fill="${colours[service]}"/>
      <text x="${x + bar + 10}" y="${y + 5}" fill="#8a93a6" font-size="14">${length} ms</text>`;
  });
  return sharp(
    Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="DejaVu Sans, sans-serif">
    <defs>
      <filter id="shadow" x="-10%" y="-10%" width="120%" height="130%"><feGaussianBlur stdDeviation="18"/></filter>
      <linearGradient id="bar" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="#f6f7fa"/><stop offset="1" stop-color="#e7eaf1"/></linearGradient>
      <clipPath id="window"><rect x="${left}" y="${top}" width="${w}" height="${bottom - top}" rx="16"/></clipPath>
    </defs>
    <rect x="${left}" y="${top + 16}" width="${w}" height="${bottom - top}" rx="18" fill="#101828" opacity="0.42" filter="url(#shadow)"/>
    <g clip-path="url(#window)">
      <rect x="${left}" y="${top}" width="${w}" height="${bottom - top}" fill="#ffffff"/>
      <rect x="${left}" y="${top}" width="${w}" height="52" fill="url(#bar)"/>
      <circle cx="${left + 30}" cy="${top + 26}" r="8" fill="#ef6a5e"/><circle cx="${left + 56}" cy="${top + 26}" r="8" fill="#f4bf4f"/>
      <circle cx="${left + 82}" cy="${top + 26}" r="8" fill="#61c554"/>
      <text x="${left + w / 2}" y="${top + 33}" text-anchor="middle" fill="#596275" font-size="18">Sluice: one job</text>
      <text x="${left + 46}" y="${top + 112}" fill="#1b2130" font-size="30" font-weight="bold">landscape.jpg to PDF</text>
      <text x="${left + 46}" y="${top + 146}" fill="#7a8399" font-size="17">1 page, 1600 x 1067 pixels, passed through</text>
      ${rows.join('')}
    </g></svg>`),
  );
}
