/** Makes the pictures in `samples/` again: `node services/image/tests/samples/make.ts`. */
import { fileURLToPath } from 'node:url';
import { drawLandscape } from './landscape.ts';
import { drawScannedPage } from './page.ts';
import { drawWindow } from './window.ts';

const path = (name: string): string => fileURLToPath(new URL(`../../../../samples/${name}`, import.meta.url));
const licence = { IFD0: { Copyright: 'CC0 1.0', ImageDescription: 'A lake at sunset, computed for Sluice' } };

const landscape = drawLandscape(1600, 1067);
await landscape.jpeg({ quality: 82 }).withExif(licence).withMetadata({ density: 150 }).toFile(path('photo.jpg'));
await drawWindow(1280, 720).png({ compressionLevel: 9 }).withMetadata({ density: 96 }).toFile(path('screenshot.png'));
const page = await drawScannedPage(2480, 3508);
await page
  .png({ colours: 2, palette: false, compressionLevel: 9 })
  .withMetadata({ density: 300 })
  .toFile(path('scan.png'));
